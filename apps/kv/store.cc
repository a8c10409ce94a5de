// store.cc - creating a store, reading, deleting, flushing, counting.

#include "apps/kv/store.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/random.h>

#include <algorithm>
#include <bit>
#include <cstring>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace yamanote::kv {
namespace {

constexpr unsigned kMaxShards = 256;

// As many shards as leave each room for four of the largest values, so that one
// of them does not push out most of a shard; 64 serve more cores than any
// machine's share of one lock needs.
unsigned DefaultShards(const StoreOptions& options) {
  const size_t per_shard =
      std::max<size_t>(4 * options.max_value_bytes, 256 << 10);
  const size_t fit = std::max<size_t>(options.memory_limit / per_shard, 1);
  return static_cast<unsigned>(std::bit_floor(std::min<size_t>(fit, 64)));
}

Result<void> Check(const StoreOptions& options) {
  constexpr size_t kMiB = size_t{1} << 20;
  if (options.memory_limit < kMiB || options.memory_limit > kMiB << 20) {
    return MakeError(
        ErrorCode::kInvalidArgument,
        fmt::format("memory_limit is {} bytes; it must be 1 MiB to 1 TiB",
                    options.memory_limit));
  }
  if (options.max_value_bytes < 1 || options.max_value_bytes > kMiB << 10) {
    return MakeError(ErrorCode::kInvalidArgument,
                     fmt::format("max_value_bytes is {}; it must be 1 to 1 GiB",
                                 options.max_value_bytes));
  }
  if (options.shards > kMaxShards ||
      (options.shards != 0 && !std::has_single_bit(options.shards))) {
    return MakeError(
        ErrorCode::kInvalidArgument,
        fmt::format("shards are {}; they must be a power of two up to {}, "
                    "or 0 for a default",
                    options.shards, kMaxShards));
  }
  const size_t shards = std::max(options.shards, 1U);
  if (options.memory_limit / shards < 4 * options.max_value_bytes) {
    return MakeError(
        ErrorCode::kInvalidArgument,
        fmt::format(
            "memory_limit is {} bytes, in {} shard(s) less than 4 values of "
            "{} bytes each; raise it to {} or lower max_value_bytes",
            options.memory_limit, shards, options.max_value_bytes,
            4 * options.max_value_bytes * shards));
  }
  return {};
}

}  // namespace

void Value::Release() {
  if (pinned_ == nullptr) return;
  {
    const ShardGuard guard(*shard_);
    shard_->Unpin(*pinned_);
  }
  pinned_ = nullptr;
  no_preempt_.reset();
}

Result<std::unique_ptr<Store>> Store::Create(const StoreOptions& options) {
  if (Result<void> valid = Check(options); !valid) {
    return tl::unexpected(valid.error());
  }
  StoreOptions chosen = options;
  if (chosen.shards == 0) chosen.shards = DefaultShards(options);
  while (chosen.hash_seed == 0) {
    if (getrandom(&chosen.hash_seed, sizeof(chosen.hash_seed), 0) < 0) {
      return MakeError(ErrorCode::kInternal,
                       "getrandom gave no seed for the hash", errno);
    }
  }
  std::unique_ptr<Store> store(new Store(chosen));
  if (Result<void> reserved = store->Reserve(); !reserved) {
    return tl::unexpected(reserved.error());
  }
  return store;
}

Result<void> Store::Reserve() {
  // An item needs a block and, for chains of one on average, a bucket.
  const size_t share =
      options_.memory_limit / options_.shards / kBlockBytes * kBlockBytes;
  const size_t buckets = std::max<size_t>(
      std::bit_floor(share / (kBlockBytes + sizeof(BlockIndex))), 32);
  const size_t blocks = (share - buckets * sizeof(BlockIndex)) / kBlockBytes;
  memory_bytes_ = share * options_.shards;
  void* const memory = mmap(nullptr, memory_bytes_, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    return MakeError(
        ErrorCode::kResourceExhausted,
        fmt::format("the system has no {} bytes for the memory limit: {}; "
                    "lower it",
                    memory_bytes_, std::strerror(errno)),
        errno);
  }
  memory_ = static_cast<std::byte*>(memory);
  // Fewer page faults and TLB misses where the system allows it; no matter if
  // not.
  madvise(memory_, memory_bytes_, MADV_HUGEPAGE);
  buckets_per_shard_ = buckets;
  shards_ = std::make_unique<Shard[]>(options_.shards);
  const unsigned number_bits =
      static_cast<unsigned>(std::countr_zero(options_.shards));
  for (unsigned i = 0; i < options_.shards; ++i) {
    shards_[i].Init(memory_ + i * share, static_cast<uint32_t>(buckets),
                    static_cast<uint32_t>(blocks), i, number_bits);
  }
  return {};
}

Store::~Store() {
  if (memory_ != nullptr) munmap(memory_, memory_bytes_);
}

Key Store::MakeKey(std::string_view bytes) const {
  return {bytes,
          XXH3_64bits_withSeed(bytes.data(), bytes.size(), options_.hash_seed)};
}

bool Store::Get(const Key& key, Seconds now, const GetOptions& options,
                Value& value) {
  value.Release();
  value.info = {};
  Shard& shard = ShardOf(key);
  const ShardGuard guard(shard);
  shard.Advance(now);
  Shard::Absence absence = Shard::Absence::kNone;
  Item* item = shard.Find(key, now, &absence);
  ShardStats& stats = shard.stats;
  const bool hit = item != nullptr;
  if (hit && !Shard::MayPin(*item)) {
    if (options.count_get) ++stats.get_misses;
    return false;
  }
  if (options.count_get) {
    ++(hit ? stats.get_hits : stats.get_misses);
    if (absence == Shard::Absence::kExpired) ++stats.get_expired;
    if (absence == Shard::Absence::kFlushed) ++stats.get_flushed;
  }
  if (options.expires) ++(hit ? stats.touch_hits : stats.touch_misses);
  if (!hit) {
    if (!options.vivify) return false;
    item = shard.Allocate(key, 0, now);
    if (item == nullptr) return false;
    item->cas = options.new_cas ? *options.new_cas : shard.NextCas();
    item->expires = *options.vivify;
    if (options.binary_key) item->Set(Item::kBinaryKey);
    shard.Link(key, *item);
    shard.Unpin(*item);
  }

  ItemInfo& info = value.info;
  info.won = !hit;
  if (hit && options.recache_below && !item->Has(Item::kTokenSent) &&
      item->expires != kNeverExpires &&
      item->expires < *options.recache_below) {
    info.won = true;
  }
  if (options.expires && hit) item->expires = *options.expires;
  info.cas = item->cas;
  info.flags = item->flags;
  info.value_bytes = item->value_bytes;
  info.expires = item->expires;
  info.last_access = item->last_access;
  info.fetched = item->Has(Item::kFetched);
  info.binary_key = item->Has(Item::kBinaryKey);
  info.stale = item->Has(Item::kStale);
  info.token_sent = item->Has(Item::kTokenSent);
  info.memory_bytes =
      BlocksFor(item->key_bytes + item->value_bytes) * kBlockBytes;
  if (info.stale && !info.token_sent && options.may_win) info.won = true;
  if (info.won) item->Set(Item::kTokenSent);
  if (options.bump && hit) shard.MarkRead(*item, now);

  if (!options.want_value || options.unless_cas == item->cas) return true;
  if (item->value_bytes > kShortCopy) {
    shard.Pin(*item);
    if (shard.IsCrowded()) value.no_preempt_.emplace();
    value.shard_ = &shard;
    value.pinned_ = item;
    return true;
  }
  shard.arena().Read(*item, item->key_bytes, item->value_bytes,
                     value.copy_.data());
  return true;
}

Outcome Store::Delete(const Key& key, Seconds now,
                      const DeleteOptions& options) {
  Shard& shard = ShardOf(key);
  const ShardGuard guard(shard);
  shard.Advance(now);
  Item* item = shard.Find(key, now);
  if (item == nullptr) {
    ++shard.stats.delete_misses;
    return Outcome::kNotFound;
  }
  if (options.compare_cas && *options.compare_cas != item->cas) {
    ++shard.stats.delete_misses;
    return Outcome::kExists;
  }
  ++shard.stats.delete_hits;
  if (!options.mark_stale && !options.drop_value) {
    shard.Unlink(*item);
    return Outcome::kDone;
  }
  if (options.drop_value) {
    Item* const empty = Rewrite(shard, key, *item, "", now);
    if (empty == nullptr) {
      shard.Unlink(*item);
      return Outcome::kDone;  // Gone altogether, which a cache may do.
    }
    item = empty;
    item->flags = 0;
  }
  if (options.mark_stale) {
    item->Set(Item::kStale);
    item->Unset(Item::kTokenSent);  // The next reader is asked to refresh it.
  }
  if (options.expires) item->expires = *options.expires;
  item->cas = options.new_cas ? *options.new_cas : shard.NextCas();
  return Outcome::kDone;
}

void Store::Flush() {
  for (unsigned i = 0; i < options_.shards; ++i) {
    const ShardGuard guard(shards_[i]);
    shards_[i].FlushNow();
  }
}

void Store::FlushAt(Seconds at, Seconds now) {
  for (unsigned i = 0; i < options_.shards; ++i) {
    const ShardGuard guard(shards_[i]);
    // One that is due must not be lost because nobody came by since.
    shards_[i].Advance(now);
    shards_[i].FlushAt(at);
  }
}

StoreStats Store::Stats() {
  StoreStats sum;
  for (unsigned i = 0; i < options_.shards; ++i) {
    const ShardGuard guard(shards_[i]);
    sum.counts += shards_[i].stats;
    sum.items += shards_[i].items();
    sum.blocks += shards_[i].arena().usable_blocks();
    sum.bytes += shards_[i].arena().used_blocks() * kBlockBytes;
  }
  sum.buckets = buckets_per_shard_ * options_.shards;
  sum.hash_bytes = sum.buckets * sizeof(BlockIndex);
  return sum;
}

void Store::ResetStats() {
  for (unsigned i = 0; i < options_.shards; ++i) {
    const ShardGuard guard(shards_[i]);
    shards_[i].stats = {};
  }
}

}  // namespace yamanote::kv
