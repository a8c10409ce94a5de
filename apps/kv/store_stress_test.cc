// store_stress_test.cc - many threads on few keys in little memory: values are
// never torn, counters lose nothing, and every block comes back. Run it under
// TSan and ASan.

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "apps/kv/store.h"

namespace yamanote::kv {
namespace {

constexpr int kThreads = 4;
constexpr int kRounds = 20000;

// A value that shows where it was torn: its length and one letter, repeated.
std::string MakeValue(std::mt19937& random) {
  const size_t size =
      random() % 4 == 0 ? 1000 + random() % 20000 : random() % 300;
  return std::string(size, static_cast<char>('a' + random() % 26));
}

bool IsWhole(const Value& value) {
  char letter = 0;
  bool whole = true;
  size_t size = 0;
  value.ForEachPiece([&](Bytes piece) {
    for (const std::byte byte : piece) {
      const char c = static_cast<char>(byte);
      if (letter == 0) letter = c;
      whole = whole && c == letter;
    }
    size += piece.size();
  });
  return whole && size == value.info.value_bytes;
}

void RunThreads(const std::function<void(unsigned)>& body) {
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < kThreads; ++i) threads.emplace_back(body, i);
  for (std::thread& thread : threads) thread.join();
}

TEST(StoreStressTest, ValuesAreNeverTorn) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  // Little memory, so that eviction meets pinned readers all the time.
  auto store = Store::Create({.memory_limit = size_t{1} << 20,
                              .max_value_bytes = 100000,
                              .shards = 2});
  ASSERT_TRUE(store);
  Store& kv = **store;
  std::atomic<int> torn{0};
  RunThreads([&](unsigned thread) {
    std::mt19937 random(seed + thread);
    Value value;
    for (int i = 0; i < kRounds; ++i) {
      const std::string name = "key:" + std::to_string(random() % 60);
      const Key key = kv.MakeKey(name);
      const Seconds now = 10 + static_cast<Seconds>(i / 1000);
      switch (random() % 8) {
        case 0:
        case 1: {
          const std::string text = MakeValue(random);
          kv.Put(key, std::as_bytes(std::span(text)), now,
                 {.expires = random() % 3 == 0 ? now + 1 : 0});
          break;
        }
        case 2:
          kv.Delete(key, now, {.mark_stale = random() % 2 == 0});
          break;
        case 3:
          kv.PrefetchBucket(key);
          kv.PrefetchItem(key);
          break;
        case 4:
          if (random() % 500 == 0) kv.Flush();
          break;
        default:
          if (kv.Get(key, now, {}, value) && !IsWhole(value)) ++torn;
          break;
      }
    }
  });
  EXPECT_EQ(torn, 0);
  // Nothing is pinned or lost: without items no block is in use.
  for (int i = 0; i < 60; ++i) {
    const std::string name = "key:" + std::to_string(i);
    kv.Delete(kv.MakeKey(name), 100, {});
  }
  EXPECT_EQ(kv.Stats().items, 0u);
  EXPECT_EQ(kv.Stats().bytes, 0u);
}

TEST(StoreStressTest, AppendsAreAllThere) {
  auto store = Store::Create({.shards = 1});
  ASSERT_TRUE(store);
  Store& kv = **store;
  const Key key = kv.MakeKey("log");
  kv.Put(key, {}, 10, {});
  constexpr int kAppends = 300;
  const std::string word = "0123456789";
  RunThreads([&](unsigned thread) {
    const StoreMode mode =
        thread % 2 == 0 ? StoreMode::kAppend : StoreMode::kPrepend;
    for (int i = 0; i < kAppends; ++i) {
      ASSERT_EQ(kv.Put(key, std::as_bytes(std::span(word)), 10, {.mode = mode})
                    .outcome,
                Outcome::kDone);
    }
  });
  Value value;
  ASSERT_TRUE(kv.Get(key, 10, {}, value));
  std::string text;
  value.ForEachPiece([&](Bytes piece) {
    text.append(reinterpret_cast<const char*>(piece.data()), piece.size());
  });
  ASSERT_EQ(text.size(), kThreads * kAppends * word.size());
  for (size_t at = 0; at < text.size(); at += word.size()) {
    ASSERT_EQ(text.substr(at, word.size()), word);
  }
}

TEST(StoreStressTest, IncrementsAndCasLoseNothing) {
  auto store = Store::Create({});
  ASSERT_TRUE(store);
  Store& kv = **store;
  const Key counter = kv.MakeKey("counter");
  const Key guarded = kv.MakeKey("guarded");
  const std::string zero = "0";
  kv.Put(counter, std::as_bytes(std::span(zero)), 10, {});
  kv.Put(guarded, std::as_bytes(std::span(zero)), 10, {});
  constexpr int kAdds = 5000;
  std::atomic<int> swapped{0};
  RunThreads([&](unsigned) {
    Value value;
    for (int i = 0; i < kAdds; ++i) {
      ASSERT_EQ(kv.Arithmetic(counter, 10, {}).outcome, Outcome::kDone);
      ASSERT_TRUE(kv.Get(guarded, 10, {}, value));
      int number = 0;
      value.ForEachPiece([&](Bytes piece) {
        number = std::stoi(std::string(
            reinterpret_cast<const char*>(piece.data()), piece.size()));
      });
      const std::string next = std::to_string(number + 1);
      const PutResult result = kv.Put(guarded, std::as_bytes(std::span(next)),
                                      10, {.compare_cas = value.info.cas});
      if (result.outcome == Outcome::kDone) ++swapped;
    }
  });
  EXPECT_EQ(kv.Arithmetic(counter, 10, {.delta = 0}).number,
            uint64_t{kThreads} * kAdds);
  EXPECT_EQ(kv.Arithmetic(guarded, 10, {.delta = 0}).number,
            static_cast<uint64_t>(swapped));
}

}  // namespace
}  // namespace yamanote::kv
