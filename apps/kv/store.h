// store.h - the items of a memcached-compatible cache, in bounded memory.
//
// Keys are spread over shards by a seeded hash; each shard has a share of the
// memory, its own lock and its own order of eviction, so cores seldom meet. All
// memory is reserved by Create() and never grows: the index, the items and
// their headers together stay within the limit. What does not fit evicts what
// was not read lately.
//
// No call blocks; a task may be preempted in one, but not while it holds a lock
// (ShardGuard). Locks are held for a few hundred nanoseconds: keys and values of
// up to kShortCopy bytes are copied under the lock, longer ones without it while
// the item is pinned; where half of a shard's memory is pinned, without being
// preempted. An item that 65,535 requests have pinned is a miss, or has no memory,
// for the next one.
//
// Time is passed in (StoreClock), so a test owns it. Any thread may call.

#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "apps/kv/shard.h"
#include "yamanote/result.h"
#include "yamanote/service.h"

namespace yamanote::kv {

inline constexpr size_t kShortCopy = 1024;

struct StoreOptions {
  // Bytes for everything that is stored, index included. At least four times
  // max_value_bytes; 1 MiB .. 1 TiB.
  size_t memory_limit = size_t{64} << 20;
  // Longest value. 1 .. 1 GiB.
  size_t max_value_bytes = size_t{1} << 20;
  // A power of two up to 256; 0: by the memory limit.
  unsigned shards = 0;
  // Of the hash; 0: random. Fixed only for tests.
  uint64_t hash_seed = 0;
};

// What is known about an item besides its value.
struct ItemInfo {
  uint64_t cas = 0;
  uint32_t flags = 0;
  uint32_t value_bytes = 0;
  Seconds expires = kNeverExpires;
  Seconds last_access = 0;  // Before this request.
  bool fetched = false;     // Before this request.
  bool binary_key = false;
  bool stale = false;
  bool token_sent = false;  // To an earlier request.
  bool won = false;         // This request is the one to refresh the item.
  size_t memory_bytes = 0;  // Blocks that it takes.
};

class Store;

// An item that was found. Holds a copy of a short value, or keeps the memory of
// a long one until it is released: soon, because nobody can evict it and the task
// may not be preempted meanwhile. Of one task.
class Value {
 public:
  Value() = default;
  ~Value() { Release(); }
  Value(const Value&) = delete;
  Value& operator=(const Value&) = delete;

  ItemInfo info;

  // Calls `visit(Bytes)` for the pieces of the value in order.
  template <typename Visit>
  void ForEachPiece(Visit&& visit) const {
    if (pinned_ == nullptr) {
      if (info.value_bytes > 0) visit(Bytes(copy_.data(), info.value_bytes));
      return;
    }
    shard_->arena().ForEachPiece(*pinned_, pinned_->key_bytes, info.value_bytes,
                                 [&](const std::byte* piece, size_t bytes) {
                                   visit(Bytes(piece, bytes));
                                 });
  }

  // Lets go of the item, so that the object can be used for another one.
  void Release();

 private:
  friend class Store;

  Shard* shard_ = nullptr;
  Item* pinned_ = nullptr;
  std::optional<NoPreempt> no_preempt_;  // Where the shard is crowded.
  std::array<std::byte, kShortCopy> copy_;
};

struct GetOptions {
  bool want_value = true;
  bool count_get = true;                 // False: touch and me.
  bool bump = true;                      // False: it does not count as read.
  bool may_win = false;                  // If it is stale: a meta command.
  bool binary_key = false;               // For the item of `vivify`.
  std::optional<Seconds> expires;        // Sets it.
  std::optional<Seconds> vivify;         // On a miss: stores an empty item that
                                         // expires then, and wins.
  std::optional<Seconds> recache_below;  // Wins if it expires before.
  std::optional<uint64_t> new_cas;       // For the item of `vivify`.
  // Leaves the value out if this is its cas.
  std::optional<uint64_t> unless_cas;
};

enum class StoreMode : uint8_t { kSet, kAdd, kReplace, kAppend, kPrepend };

struct PutOptions {
  StoreMode mode = StoreMode::kSet;
  uint32_t flags = 0;
  Seconds expires = kNeverExpires;
  std::optional<uint64_t> compare_cas;
  // With compare_cas: an older one stores the item as stale.
  bool invalidate = false;
  std::optional<uint64_t> new_cas;
  std::optional<Seconds> vivify;  // Append and prepend: create it on a miss.
  bool binary_key = false;
};

enum class Outcome : uint8_t {
  kDone,
  kNotStored,  // The mode's condition does not hold.
  kExists,     // Its compare-and-swap value is another one.
  kNotFound,
  kNotNumeric,
  kTooLarge,
  kNoMemory,
};

struct PutResult {
  Outcome outcome = Outcome::kDone;
  uint64_t cas = 0;
  size_t value_bytes = 0;
};

struct DeleteOptions {
  std::optional<uint64_t> compare_cas;
  bool mark_stale = false;         // Instead of deleting.
  bool drop_value = false;         // Leaves an empty item.
  std::optional<Seconds> expires;  // With one of them.
  std::optional<uint64_t> new_cas;
};

struct ArithmeticOptions {
  bool decrement = false;
  uint64_t delta = 1;
  std::optional<uint64_t> compare_cas;
  std::optional<Seconds> expires;
  std::optional<Seconds> vivify;  // On a miss: store `initial`.
  uint64_t initial = 0;
  std::optional<uint64_t> new_cas;
  bool binary_key = false;
};

struct ArithmeticResult {
  Outcome outcome = Outcome::kDone;
  uint64_t number = 0;
  uint64_t cas = 0;
  Seconds expires = kNeverExpires;
  bool created = false;  // There was no item: it has the initial value.
};

struct StoreStats {
  ShardStats counts;
  size_t items = 0;
  size_t bytes = 0;       // Of the blocks in use.
  size_t blocks = 0;      // That there are.
  size_t hash_bytes = 0;  // The index.
  size_t buckets = 0;
};

class Store {
 public:
  // kInvalidArgument names the option; kResourceExhausted if the system has not
  // that much memory.
  static Result<std::unique_ptr<Store>> Create(const StoreOptions& options);
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  // Returns `bytes` (1 .. 250) with its hash. The bytes must live as long.
  Key MakeKey(std::string_view bytes) const;

  // Two steps of bringing an item to the cache; useful if some other work is
  // done between them and the access.
  void PrefetchBucket(const Key& key) const {
    ShardOf(key).PrefetchBucket(key.hash);
  }
  void PrefetchItem(const Key& key) const {
    ShardOf(key).PrefetchItem(key.hash);
  }

  // Finds the item; false if there is none. Resets `value` first.
  bool Get(const Key& key, Seconds now, const GetOptions& options,
           Value& value);

  PutResult Put(const Key& key, Bytes data, Seconds now,
                const PutOptions& options);

  // The value was too long to be read at all. What a set should have replaced
  // is dropped, so that nobody takes the old value for the new one.
  void PutTooLarge(const Key& key, Seconds now, StoreMode mode);

  Outcome Delete(const Key& key, Seconds now, const DeleteOptions& options);
  ArithmeticResult Arithmetic(const Key& key, Seconds now,
                              const ArithmeticOptions& options);

  // Drops everything that is stored now.
  void Flush();
  // Drops everything that is stored before second `at`, at that second.
  void FlushAt(Seconds at, Seconds now);

  StoreStats Stats();
  void ResetStats();
  const StoreOptions& options() const { return options_; }

 private:
  explicit Store(const StoreOptions& options) : options_(options) {}
  Result<void> Reserve();

  Shard& ShardOf(const Key& key) const {
    return shards_[(key.hash >> 32) & (options_.shards - 1)];
  }
  enum class Locking : uint8_t { kBriefly, kThroughout };
  std::optional<PutResult> TryPut(const Key& key, Bytes data, Seconds now,
                                  const PutOptions& options, Locking locking);
  static void Publish(Shard& shard, const Key& key, Item& item, Item* current,
                      const Item* extended, const PutOptions& options,
                      uint64_t old_cas);
  static Item* Rewrite(Shard& shard, const Key& key, Item& old,
                       std::string_view value, Seconds now);
  static ArithmeticResult StoreInitial(Shard& shard, const Key& key,
                                       Seconds now,
                                       const ArithmeticOptions& options);

  StoreOptions options_;
  std::unique_ptr<Shard[]> shards_;
  std::byte* memory_ = nullptr;
  size_t memory_bytes_ = 0;
  size_t buckets_per_shard_ = 0;
};

}  // namespace yamanote::kv
