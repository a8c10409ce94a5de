// shard.cc - looking up, allocating, linking and evicting items.

#include "apps/kv/shard.h"

#include <atomic>
#include <cstring>
#include <span>

#include "base/check.h"

namespace yamanote::kv {

ShardStats& ShardStats::operator+=(const ShardStats& other) {
  get_hits += other.get_hits;
  get_misses += other.get_misses;
  get_expired += other.get_expired;
  get_flushed += other.get_flushed;
  touch_hits += other.touch_hits;
  touch_misses += other.touch_misses;
  cmd_set += other.cmd_set;
  cas_hits += other.cas_hits;
  cas_badval += other.cas_badval;
  cas_misses += other.cas_misses;
  delete_hits += other.delete_hits;
  delete_misses += other.delete_misses;
  incr_hits += other.incr_hits;
  incr_misses += other.incr_misses;
  decr_hits += other.decr_hits;
  decr_misses += other.decr_misses;
  total_items += other.total_items;
  evictions += other.evictions;
  evicted_unfetched += other.evicted_unfetched;
  expired_unfetched += other.expired_unfetched;
  reclaimed += other.reclaimed;
  store_too_large += other.store_too_large;
  store_no_memory += other.store_no_memory;
  return *this;
}

void Shard::Init(std::byte* memory, uint32_t buckets, uint32_t blocks,
                 unsigned number, unsigned number_bits) {
  buckets_ = reinterpret_cast<BlockIndex*>(memory);
  bucket_mask_ = buckets - 1;
  arena_.Init(memory + size_t{buckets} * sizeof(BlockIndex), blocks);
  number_ = number;
  number_bits_ = number_bits;
}

// A prefetch reads a bucket without the lock; what it reads may be of yesterday
// and is only ever prefetched, so the worst outcome is a useless prefetch.
void Shard::SetBucket(BlockIndex& slot, BlockIndex value) {
  // Relaxed: pairs with PrefetchItem(), which needs no order.
  std::atomic_ref(slot).store(value, std::memory_order_relaxed);
}

void Shard::PrefetchItem(uint64_t hash) const {
  // Relaxed: pairs with SetBucket().
  const BlockIndex first = std::atomic_ref(buckets_[hash & bucket_mask_])
                               .load(std::memory_order_relaxed);
  if (first != kNoBlock) {
    const std::byte* const line =
        reinterpret_cast<const std::byte*>(&arena_.At(first));
    __builtin_prefetch(line);
    __builtin_prefetch(line + base::kCacheLine);
  }
}

bool Shard::KeyIs(Item& item, std::string_view key) const {
  if (item.key_bytes != key.size()) return false;
  bool equal = true;
  size_t compared = 0;
  arena_.ForEachPiece(item, 0, key.size(), [&](std::byte* piece, size_t bytes) {
    equal = equal && std::memcmp(piece, key.data() + compared, bytes) == 0;
    compared += bytes;
  });
  return equal;
}

Item* Shard::Find(const Key& key, Seconds now, Absence* absence) {
  Absence why = Absence::kNeverStored;
  Item* found = nullptr;
  const uint32_t tag = static_cast<uint32_t>(key.hash);
  BlockIndex index = buckets_[key.hash & bucket_mask_];
  while (index != kNoBlock) {
    Item& item = arena_.At(index);
    if (item.tag == tag && KeyIs(item, key.bytes)) {
      found = &item;
      break;
    }
    index = item.chain;
  }
  if (found != nullptr) {
    if (IsFlushed(*found)) {
      why = Absence::kFlushed;
    } else if (IsExpired(*found, now)) {
      why = Absence::kExpired;
      if (!found->Has(Item::kFetched)) ++stats.expired_unfetched;
    } else {
      why = Absence::kNone;
    }
    if (why != Absence::kNone) {
      Unlink(*found);
      found = nullptr;
    }
  }
  if (absence != nullptr) *absence = why;
  return found;
}

bool Shard::MakeRoom(size_t blocks, Seconds now) {
  if (blocks + pinned_blocks_ > arena_.usable_blocks()) return false;
  int chances = kSecondChances;
  while (arena_.free_blocks() < blocks) {
    YAMANOTE_CHECK(oldest_ != kNoBlock,
                   "blocks in use are neither pinned nor an item's");
    Item& victim = arena_.At(oldest_);
    const bool dead = IsFlushed(victim) || IsExpired(victim, now);
    if (!dead && victim.Has(Item::kVisited) && chances > 0) {
      --chances;
      victim.Unset(Item::kVisited);
      QueueRemove(victim);
      QueuePush(victim);
      continue;
    }
    if (dead) {
      ++stats.reclaimed;
    } else {
      ++stats.evictions;
      if (!victim.Has(Item::kFetched)) ++stats.evicted_unfetched;
    }
    Unlink(victim);
  }
  return true;
}

Item* Shard::Allocate(const Key& key, size_t value_bytes, Seconds now) {
  const size_t blocks = BlocksFor(key.bytes.size() + value_bytes);
  if (!MakeRoom(blocks, now)) return nullptr;
  Item& item = arena_.Allocate(blocks);
  item.cas = 0;
  item.tag = static_cast<uint32_t>(key.hash);
  item.chain = item.newer = item.older = kNoBlock;
  item.flush_epoch = flush_epoch_;
  item.expires = kNeverExpires;
  item.last_access = now;
  item.flags = 0;
  item.value_bytes = static_cast<uint32_t>(value_bytes);
  item.pins = 1;
  pinned_blocks_ += blocks;
  item.key_bytes = static_cast<uint8_t>(key.bytes.size());
  item.bits = 0;
  arena_.Write(item, 0, std::as_bytes(std::span(key.bytes)));
  return &item;
}

void Shard::Link(const Key& key, Item& item) {
  BlockIndex& bucket = buckets_[key.hash & bucket_mask_];
  item.chain = bucket;
  SetBucket(bucket, arena_.IndexOf(item));
  // A flush while it was being written: it was stored after that flush.
  item.flush_epoch = flush_epoch_;
  item.Set(Item::kLinked);
  QueuePush(item);
  ++items_;
  ++stats.total_items;
}

void Shard::Unlink(Item& item) {
  const BlockIndex index = arena_.IndexOf(item);
  BlockIndex* slot = &buckets_[item.tag & bucket_mask_];
  while (*slot != index) slot = &arena_.At(*slot).chain;
  SetBucket(*slot, item.chain);
  QueueRemove(item);
  item.Unset(Item::kLinked);
  --items_;
  if (item.pins == 0) Free(item);
}

void Shard::QueuePush(Item& item) {
  const BlockIndex index = arena_.IndexOf(item);
  item.newer = kNoBlock;
  item.older = newest_;
  if (newest_ != kNoBlock) {
    arena_.At(newest_).newer = index;
  } else {
    oldest_ = index;
  }
  newest_ = index;
}

void Shard::QueueRemove(Item& item) {
  if (item.newer != kNoBlock) {
    arena_.At(item.newer).older = item.older;
  } else {
    newest_ = item.older;
  }
  if (item.older != kNoBlock) {
    arena_.At(item.older).newer = item.newer;
  } else {
    oldest_ = item.newer;
  }
}

}  // namespace yamanote::kv
