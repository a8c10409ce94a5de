// shard.h - one part of the store: an index, a block arena, an order of
// eviction and counters, behind one lock.
//
// Eviction is CLOCK over a queue of items (first in, first out, with a second
// chance for what was read meanwhile). Rejected: LRU lists, which write three
// other items' cache lines per read, or bump only once a minute as memcached's
// do; a read here sets one bit in the line it has read anyway. The chances
// given in one allocation are bounded, so a write never scans the whole shard.
//
// Every member function needs a ShardGuard, except the prefetches. Nobody may
// block or reach a scheduling point while holding one; it keeps preemption off.
//
// Invariant: an item is linked (in its bucket and in the queue) or pinned or
// both; when it is neither, its blocks are free.

#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>

#include "apps/kv/blocks.h"
#include "base/cpu.h"
#include "base/spin_lock.h"
#include "yamanote/preempt.h"

namespace yamanote::kv {

// A key and its hash; `bytes` has 1 .. 250. The lower half of the hash chooses
// the bucket, the upper one the shard.
struct Key {
  std::string_view bytes;
  uint64_t hash;
};

// What happened, since the start or the last reset.
struct ShardStats {
  uint64_t get_hits = 0;
  uint64_t get_misses = 0;
  uint64_t get_expired = 0;  // Misses because the item was over.
  uint64_t get_flushed = 0;  // Misses because it had been flushed.
  uint64_t touch_hits = 0;
  uint64_t touch_misses = 0;
  uint64_t cmd_set = 0;
  uint64_t cas_hits = 0;
  uint64_t cas_badval = 0;
  uint64_t cas_misses = 0;
  uint64_t delete_hits = 0;
  uint64_t delete_misses = 0;
  uint64_t incr_hits = 0;
  uint64_t incr_misses = 0;
  uint64_t decr_hits = 0;
  uint64_t decr_misses = 0;
  uint64_t total_items = 0;  // Stored, replacements included.
  uint64_t evictions = 0;    // Live items that made room.
  uint64_t evicted_unfetched = 0;
  uint64_t expired_unfetched = 0;
  uint64_t reclaimed = 0;  // Dead items that made room.
  uint64_t store_too_large = 0;
  uint64_t store_no_memory = 0;

  ShardStats& operator+=(const ShardStats& other);
};

class alignas(base::kNoSharing) Shard {
 public:
  enum class Absence : uint8_t { kNone, kNeverStored, kExpired, kFlushed };

  // `memory` is zero-filled and 128-byte aligned: `buckets` indices, a power of
  // two from 32 to 2^32, then `blocks` blocks. `number` makes compare-and-swap
  // values of different shards different. Before the first use.
  void Init(std::byte* memory, uint32_t buckets, uint32_t blocks,
            unsigned number, unsigned number_bits);

  // Lets a flush that is due take effect. First in every critical section.
  void Advance(Seconds now) {
    if (flush_at_ != 0 && now >= flush_at_) FlushNow();
  }

  // Returns the live item of `key`, nullptr if there is none; drops it if it is
  // over. `absence`, if given, tells why there is none.
  Item* Find(const Key& key, Seconds now, Absence* absence = nullptr);

  // Returns an unlinked item, pinned once, with its key in place, room for
  // `value_bytes`, and every other field zero. Evicts what must go. nullptr if
  // there is not that much room beside what is pinned; then nothing is evicted.
  Item* Allocate(const Key& key, size_t value_bytes, Seconds now);

  // Makes a pinned, unlinked item the newest one. Requires: no other item of
  // the key is linked.
  void Link(const Key& key, Item& item);
  void Unlink(Item& item);

  // False if as many readers and writers have pinned it as can be counted: one
  // more is answered as if there were no memory.
  static bool MayPin(const Item& item) {
    return item.pins < std::numeric_limits<decltype(item.pins)>::max();
  }
  // Requires: MayPin().
  void Pin(Item& item) {
    if (item.pins++ == 0) pinned_blocks_ += BlocksOf(item);
  }
  void Unpin(Item& item) {
    if (--item.pins != 0) return;
    pinned_blocks_ -= BlocksOf(item);
    if (!item.Has(Item::kLinked)) Free(item);
  }

  // Whether half of the memory is pinned or more. Then whoever pins keeps
  // preemption off until it unpins, so that only as many go on pinning as there
  // are cores, and the rest of the shard stays for those who store something.
  bool IsCrowded() const { return pinned_blocks_ > arena_.usable_blocks() / 2; }

  void MarkRead(Item& item, Seconds now) {
    if (!item.Has(Item::kVisited)) item.Set(Item::kVisited);
    if (!item.Has(Item::kFetched)) item.Set(Item::kFetched);
    if (item.last_access != now) item.last_access = now;
  }

  uint64_t NextCas() { return ++last_cas_ << number_bits_ | number_; }

  void FlushNow() {
    ++flush_epoch_;
    flush_at_ = 0;
  }
  // Everything stored before second `at` is gone from then on.
  void FlushAt(Seconds at) { flush_at_ = at; }

  const BlockArena& arena() const { return arena_; }
  size_t items() const { return items_; }

  ShardStats stats;

  // Without the lock: bring a key's bucket, then its first item, to the cache.
  void PrefetchBucket(uint64_t hash) const {
    __builtin_prefetch(&buckets_[hash & bucket_mask_]);
  }
  void PrefetchItem(uint64_t hash) const;

 private:
  friend class ShardGuard;

  // At about 20 ns each; beyond it, an item goes although it was read.
  static constexpr int kSecondChances = 64;

  bool KeyIs(Item& item, std::string_view key) const;
  bool IsFlushed(const Item& item) const {
    return item.flush_epoch != flush_epoch_;
  }
  static bool IsExpired(const Item& item, Seconds now) {
    return item.expires != kNeverExpires && item.expires <= now;
  }
  bool MakeRoom(size_t blocks, Seconds now);
  static size_t BlocksOf(const Item& item) {
    return BlocksFor(item.key_bytes + item.value_bytes);
  }
  void Free(Item& item) { arena_.Free(item, BlocksOf(item)); }
  void SetBucket(BlockIndex& slot, BlockIndex value);
  void QueuePush(Item& item);
  void QueueRemove(Item& item);

  base::SpinLock lock_;

  // Constant after Init().
  BlockIndex* buckets_ = nullptr;
  uint64_t bucket_mask_ = 0;
  unsigned number_ = 0;
  unsigned number_bits_ = 0;

  // Guarded by lock_.
  BlockArena arena_;
  BlockIndex newest_ = kNoBlock;
  BlockIndex oldest_ = kNoBlock;
  size_t items_ = 0;
  size_t pinned_blocks_ = 0;  // Of pinned items: evicting those frees nothing.
  uint64_t last_cas_ = 0;
  uint32_t flush_epoch_ = 0;
  Seconds flush_at_ = 0;  // 0: no flush is due later.
};

// Holds a shard's lock. The task is not preempted meanwhile: who waits for the
// lock spins, and would keep the core from a holder that waits for it. What was
// asked for is answered when the lock is given back. Costs 2 ns beside the lock.
class [[nodiscard]] ShardGuard {
 public:
  explicit ShardGuard(Shard& shard) : lock_(shard.lock_) { Lock(); }
  ~ShardGuard() {
    if (no_preempt_) Unlock();
  }
  ShardGuard(const ShardGuard&) = delete;
  ShardGuard& operator=(const ShardGuard&) = delete;

  // Gives the lock back for a while, and takes it again.
  void Unlock() {
    lock_.unlock();
    no_preempt_.reset();
  }
  void Lock() {
    no_preempt_.emplace();
    lock_.lock();
  }

 private:
  base::SpinLock& lock_;
  std::optional<NoPreempt> no_preempt_;
};

}  // namespace yamanote::kv
