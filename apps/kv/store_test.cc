// store_test.cc - memory bounds, eviction, pins and options of the store.

#include "apps/kv/store.h"

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <memory>
#include <random>
#include <string>

#include "apps/kv/store_clock.h"

namespace yamanote::kv {
namespace {

constexpr size_t kMiB = size_t{1} << 20;

Bytes AsBytes(std::string_view text) { return std::as_bytes(std::span(text)); }

std::unique_ptr<Store> MakeStore(StoreOptions options) {
  if (options.hash_seed == 0) options.hash_seed = 99;
  auto store = Store::Create(options);
  if (!store) throw std::runtime_error(store.error().message);
  return std::move(*store);
}

Outcome Set(Store& store, std::string_view key, std::string_view value,
            Seconds expires = kNeverExpires, Seconds now = 10) {
  return store
      .Put(store.MakeKey(key), AsBytes(value), now,
           PutOptions{.expires = expires})
      .outcome;
}

// The value, "(none)" if there is none.
std::string Get(Store& store, std::string_view key, Seconds now = 10) {
  Value value;
  if (!store.Get(store.MakeKey(key), now, {}, value)) return "(none)";
  std::string text;
  value.ForEachPiece([&](Bytes piece) {
    text.append(reinterpret_cast<const char*>(piece.data()), piece.size());
  });
  return text;
}

// A store of one shard that one can count in: 1 MiB is 7944 blocks and an index
// of 4096 buckets, so as many items of one block fit as it has blocks but one.
StoreOptions OneShard() {
  return {.memory_limit = kMiB, .max_value_bytes = 128 << 10, .shards = 1};
}

// Returns the resident bytes of the process.
size_t ResidentBytes() {
  std::ifstream file("/proc/self/statm");
  size_t total = 0;
  size_t resident = 0;
  file >> total >> resident;
  return resident * 4096;
}

TEST(StoreOptionsTest, ImpossibleOnesNameTheRemedy) {
  const std::pair<StoreOptions, const char*> kCases[] = {
      {{.memory_limit = 1000}, "1 MiB to 1 TiB"},
      {{.memory_limit = 2 * kMiB}, "raise it to 4194304"},
      {{.memory_limit = 8 * kMiB, .shards = 4}, "4 shard(s)"},
      {{.max_value_bytes = 0}, "1 to 1 GiB"},
      {{.shards = 3}, "power of two"},
      {{.shards = 512}, "up to 256"}};
  for (const auto& [options, words] : kCases) {
    const auto store = Store::Create(options);
    ASSERT_FALSE(store);
    EXPECT_EQ(store.error().code, ErrorCode::kInvalidArgument);
    EXPECT_NE(store.error().message.find(words), std::string::npos)
        << store.error().message;
  }
}

TEST(StoreOptionsTest, ShardsFollowTheLimit) {
  EXPECT_EQ(MakeStore({.memory_limit = 4 * kMiB})->options().shards, 1u);
  EXPECT_EQ(MakeStore({.memory_limit = 64 * kMiB})->options().shards, 16u);
  EXPECT_EQ(MakeStore({.memory_limit = 1024 * kMiB})->options().shards, 64u);
}

TEST(StoreTest, ValuesOfEverySizeComeBack) {
  const auto store = MakeStore({.memory_limit = 8 * kMiB, .shards = 2});
  std::mt19937 random(1);
  // Around the ends of blocks, the short copy's limit, and the largest value.
  for (size_t size : {0, 1, 60, 66, 67, 68, 190, 191, 192, 1023, 1024, 1025,
                      4096, 100000, 1 << 20}) {
    std::string value(size, '\0');
    for (char& c : value) c = static_cast<char>(random());
    ASSERT_EQ(Set(*store, "key:x", value), Outcome::kDone);
    ASSERT_EQ(Get(*store, "key:x"), value) << size;
  }
  EXPECT_EQ(Set(*store, "key:x", std::string(kMiB + 1, 'x')),
            Outcome::kTooLarge);
}

TEST(StoreTest, KeysOfEveryLengthAreTold) {
  const auto store = MakeStore({});
  for (size_t size = 1; size <= 250; ++size) {
    ASSERT_EQ(Set(*store, std::string(size, 'k'), std::to_string(size)),
              Outcome::kDone);
  }
  for (size_t size = 1; size <= 250; ++size) {
    ASSERT_EQ(Get(*store, std::string(size, 'k')), std::to_string(size));
  }
  // The difference lies in the key's last block.
  EXPECT_EQ(Get(*store, std::string(249, 'k') + "x"), "(none)");
}

TEST(StoreTest, OldestUnreadItemsMakeRoom) {
  const auto store = MakeStore(OneShard());
  const size_t capacity = store->Stats().blocks;
  const auto key = [](size_t i) { return "key:" + std::to_string(i); };
  for (size_t i = 0; i < capacity; ++i) Set(*store, key(i), "v");
  EXPECT_EQ(store->Stats().counts.evictions, 0u);
  EXPECT_EQ(Get(*store, key(0)), "v");  // Read: it gets a second chance.
  for (size_t i = 0; i < 10; ++i) Set(*store, "new:" + std::to_string(i), "v");
  EXPECT_EQ(store->Stats().counts.evictions, 10u);
  EXPECT_EQ(store->Stats().items, capacity);
  EXPECT_EQ(Get(*store, key(0)), "v");
  for (size_t i = 1; i <= 10; ++i)
    EXPECT_EQ(Get(*store, key(i)), "(none)") << i;
  EXPECT_EQ(Get(*store, key(11)), "v");
}

// What is read all the time survives any number of writes of other keys, as
// long as no more such items follow each other than one allocation may pass
// over.
TEST(StoreTest, HotItemsSurviveAScan) {
  const auto store = MakeStore(OneShard());
  for (int i = 0; i < 50; ++i) Set(*store, "hot:" + std::to_string(i), "v");
  for (int i = 0; i < 50000; ++i) {
    Set(*store, "cold:" + std::to_string(i), "v");
    ASSERT_EQ(Get(*store, "hot:" + std::to_string(i % 50)), "v") << i;
  }
}

// A value as large as allowed evicts as much as it needs and no more.
TEST(StoreTest, LargeValueEvictsExactlyWhatItNeeds) {
  const auto store = MakeStore(OneShard());
  const size_t capacity = store->Stats().blocks;
  for (size_t i = 0; i < capacity; ++i)
    Set(*store, "key:" + std::to_string(i), "v");
  const std::string large(128 << 10, 'x');
  EXPECT_EQ(Set(*store, "large", large), Outcome::kDone);
  EXPECT_EQ(Get(*store, "large"), large);
  EXPECT_EQ(store->Stats().counts.evictions, BlocksFor(large.size() + 5));
}

TEST(StoreTest, MemoryStaysWithinTheLimit) {
  const auto store = MakeStore({.memory_limit = 16 * kMiB});
  const size_t before = ResidentBytes();
  std::mt19937 random(2);
  for (int i = 0; i < 60000; ++i) {
    const size_t size = random() % 20 == 0 ? random() % 60000 : random() % 2000;
    const std::string key = "key:" + std::to_string(random() % 100000);
    ASSERT_EQ(Set(*store, key, std::string(size, 'x')), Outcome::kDone);
    if (i % 1000 == 0) {
      const StoreStats stats = store->Stats();
      ASSERT_LE(stats.bytes + stats.hash_bytes, 16 * kMiB);
    }
  }
  EXPECT_GT(store->Stats().counts.evictions, 1000u);
  // The sanitizers' own memory grows with what was touched.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && \
    !defined(__clang__)
  EXPECT_LE(ResidentBytes() - before, 17 * kMiB);
#else
  (void)before;
#endif
}

TEST(StoreTest, DeadItemsAreReclaimedNotEvicted) {
  const auto store = MakeStore(OneShard());
  const size_t capacity = store->Stats().blocks;
  for (size_t i = 0; i < capacity; ++i)
    Set(*store, "key:" + std::to_string(i), "v", 20);
  for (int i = 0; i < 10; ++i)
    Set(*store, "new:" + std::to_string(i), "v", 0, 30);
  EXPECT_EQ(store->Stats().counts.reclaimed, 10u);
  EXPECT_EQ(store->Stats().counts.evictions, 0u);
}

// A long value that somebody reads stays readable whatever happens to its key.
TEST(StoreTest, PinnedValueOutlivesItsKey) {
  const auto store = MakeStore(OneShard());
  const std::string large(100 << 10, 'a');
  Set(*store, "large", large);
  const auto read = [](const Value& value) {
    std::string text;
    value.ForEachPiece([&](Bytes piece) {
      text.append(reinterpret_cast<const char*>(piece.data()), piece.size());
    });
    return text;
  };
  Value value;
  ASSERT_TRUE(store->Get(store->MakeKey("large"), 10, {}, value));
  store->Delete(store->MakeKey("large"), 10, {});
  EXPECT_EQ(Get(*store, "large"), "(none)");
  for (int i = 0; i < 20000; ++i) Set(*store, "key:" + std::to_string(i), "v");
  EXPECT_EQ(read(value), large);
  const size_t held = store->Stats().bytes;
  value.Release();
  EXPECT_EQ(held - store->Stats().bytes,
            BlocksFor(large.size() + 5) * kBlockBytes);
}

// Pins have 16 bits: one more must not make it none.
TEST(StoreTest, WhoCannotBeCountedAsReaderFindsNothing) {
  const auto store = MakeStore(OneShard());
  ASSERT_EQ(Set(*store, "key", std::string(2000, 'a')), Outcome::kDone);
  const Key key = store->MakeKey("key");
  constexpr size_t kMost = 65'535;
  const auto readers = std::make_unique<Value[]>(kMost);
  for (size_t i = 0; i < kMost; ++i)
    ASSERT_TRUE(store->Get(key, 10, {}, readers[i])) << i;
  Value one_more;
  EXPECT_FALSE(store->Get(key, 10, {}, one_more));
  EXPECT_FALSE(store->Get(key, 10, {.vivify = 5}, one_more));
  EXPECT_EQ(store->Stats().counts.get_misses, 2u);
  const PutOptions append{.mode = StoreMode::kAppend};
  EXPECT_EQ(store->Put(key, AsBytes("b"), 10, append).outcome,
            Outcome::kNoMemory);
  readers[0].Release();
  EXPECT_EQ(store->Put(key, AsBytes("b"), 10, append).outcome, Outcome::kDone);
  EXPECT_EQ(readers[1].info.value_bytes, 2000u);
  EXPECT_EQ(Get(*store, "key").size(), 2001u) << "an item of its own";
}

TEST(StoreTest, NoRoomIsAnErrorAndDropsTheOldValue) {
  const auto store = MakeStore(OneShard());
  const std::string large(128 << 10, 'a');
  Value pinned[7];  // 7 x 128 KiB of 1 MiB are in use by readers.
  for (int i = 0; i < 7; ++i) {
    const std::string key = "large:" + std::to_string(i);
    ASSERT_EQ(Set(*store, key, large), Outcome::kDone);
    ASSERT_TRUE(store->Get(store->MakeKey(key), 10, {}, pinned[i]));
  }
  ASSERT_EQ(Set(*store, "other", "v"), Outcome::kDone);
  EXPECT_EQ(Set(*store, "other", large), Outcome::kNoMemory);
  EXPECT_EQ(Get(*store, "other"), "(none)");
  EXPECT_EQ(store->Stats().counts.store_no_memory, 1u);
  EXPECT_EQ(store->Stats().items, 7u);
  for (Value& value : pinned) value.Release();
  EXPECT_EQ(Set(*store, "other", large), Outcome::kDone);
}

// What readers keep can't be evicted; where the rest does not suffice, it stays.
TEST(StoreTest, WhatCannotMakeEnoughRoomIsNotEvicted) {
  const auto store = MakeStore(OneShard());
  const std::string large(128 << 10, 'a');
  const size_t blocks = BlocksFor(large.size() + 1);
  Value pinned[7];
  Value again;  // A second reader of one value keeps no more memory.
  for (int i = 0; i < 7; ++i) {
    const std::string key = std::to_string(i);
    ASSERT_EQ(Set(*store, key, large), Outcome::kDone);
    ASSERT_TRUE(store->Get(store->MakeKey(key), 10, {}, pinned[i]));
  }
  ASSERT_TRUE(store->Get(store->MakeKey("0"), 10, {}, again));
  const size_t left = store->Stats().blocks - 7 * blocks;
  ASSERT_LT(left, blocks);
  for (size_t i = 0; i < left; ++i)
    ASSERT_EQ(Set(*store, "key:" + std::to_string(i), "v"), Outcome::kDone);

  EXPECT_EQ(Set(*store, "x", large), Outcome::kNoMemory);
  EXPECT_EQ(store->Stats().counts.evictions, 0u);
  EXPECT_EQ(store->Stats().items, 7 + left);

  // Exactly the rest fits, and not a byte more.
  again.Release();
  const size_t rest = kFirstPayload + (left - 1) * kLaterPayload - 1;
  EXPECT_EQ(Set(*store, "x", std::string(rest + 1, 'a')), Outcome::kNoMemory);
  EXPECT_EQ(store->Stats().counts.evictions, 0u);
  EXPECT_EQ(Set(*store, "x", std::string(rest, 'a')), Outcome::kDone);
  EXPECT_EQ(Get(*store, "key:0"), "(none)");

  // One reader less: there is room again.
  pinned[0].Release();
  EXPECT_EQ(Set(*store, "y", large), Outcome::kDone);
  for (Value& value : pinned) value.Release();
  for (int i = 0; i < 100; ++i)
    ASSERT_EQ(Set(*store, "y" + std::to_string(i), large), Outcome::kDone);
}

// Appending to the only item evicts nothing of it while it is copied.
TEST(StoreTest, AppendToAnItemThatMustMakeRoomForItself) {
  const auto store = MakeStore(OneShard());
  std::string expected(100 << 10, 'a');
  Set(*store, "a", expected);
  for (int i = 0; i < 6; ++i) Set(*store, "fill" + std::to_string(i), expected);
  const std::string more(20 << 10, 'b');
  const PutResult result = store->Put(store->MakeKey("a"), AsBytes(more), 10,
                                      {.mode = StoreMode::kAppend});
  EXPECT_EQ(result.outcome, Outcome::kDone);
  EXPECT_EQ(Get(*store, "a"), expected + more);
}

TEST(StoreTest, CasValuesAreUniqueAndGrowPerKey) {
  const auto store = MakeStore({});
  std::map<uint64_t, int> seen;
  uint64_t last = 0;
  for (int i = 0; i < 1000; ++i) {
    const auto other =
        store->Put(store->MakeKey("key:" + std::to_string(i)), {}, 10, {});
    const auto same = store->Put(store->MakeKey("same"), {}, 10, {});
    EXPECT_EQ(++seen[other.cas], 1);
    EXPECT_EQ(++seen[same.cas], 1);
    EXPECT_GT(same.cas, last);
    last = same.cas;
  }
}

TEST(StoreClockTest, InstantsBecomeSeconds) {
  const StoreClock clock(FromNanos(5'000'000'000), 1'700'000'000);
  const Seconds start = clock.At(FromNanos(5'000'000'000));
  EXPECT_GT(start, StoreClock::kLongAgo);
  EXPECT_EQ(clock.At(FromNanos(5'999'999'999)), start);
  EXPECT_EQ(clock.At(FromNanos(6'000'000'000)), start + 1);
  EXPECT_EQ(clock.At(FromNanos(0)), start);
  EXPECT_EQ(clock.UnixTime(start + 7), 1'700'000'007);
}

TEST(StoreClockTest, ExpiryFollowsTheProtocol) {
  const StoreClock clock(FromNanos(0), 1'700'000'000);
  const Seconds now = clock.At(FromNanos(100'000'000'000));
  EXPECT_EQ(clock.Expiry(0, now), kNeverExpires);
  EXPECT_EQ(clock.Expiry(-1, now), StoreClock::kLongAgo);
  EXPECT_EQ(clock.Expiry(INT64_MIN, now), StoreClock::kLongAgo);
  EXPECT_EQ(clock.Expiry(1, now), now + 1);
  EXPECT_EQ(clock.Expiry(2592000, now), now + 2592000);
  EXPECT_EQ(clock.Expiry(2592001, now), StoreClock::kLongAgo);
  EXPECT_EQ(clock.Expiry(1'700'000'105, now), now + 5);
  EXPECT_EQ(clock.Expiry(INT64_MAX, now), UINT32_MAX);
}

}  // namespace
}  // namespace yamanote::kv
