// slab_pool_test.cc - the bound is exact, objects and tails are apart, each is
// destroyed once.

#include "worker/slab_pool.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <set>
#include <vector>

namespace yamanote::worker {
namespace {

struct Object {
  explicit Object(int* alive) : counter(alive) { ++*counter; }
  ~Object() { --*counter; }
  Object* next = nullptr;
  int* const counter;
  std::byte* tail = nullptr;
};

using Pool = SlabPool<Object, &Object::next>;

class SlabPoolTest : public testing::TestWithParam<size_t> {
 protected:
  Object* TakeOne(Pool& pool) {
    Object* head = nullptr;
    const size_t taken =
        pool.Take(1, head, [this](std::byte* place, std::byte* tail) {
          auto* const object = new (place) Object(&alive_);
          object->tail = tail;
          return object;
        });
    EXPECT_EQ(taken, head == nullptr ? 0u : 1u);
    return head;
  }

  int alive_ = 0;
};

// Tails of nothing, of part of a page, of pages, of more than a huge page.
INSTANTIATE_TEST_SUITE_P(Tails, SlabPoolTest,
                         testing::Values(0, 100, 66'000, 5 << 20));

TEST_P(SlabPoolTest, GivesExactlyAsManyAsAllowedEachWithItsTail) {
  const size_t tail_bytes = GetParam();
  const size_t most = tail_bytes < 1000 ? 100'000 : 5;
  {
    Pool pool(most, tail_bytes);
    std::vector<Object*> taken;
    while (Object* const object = TakeOne(pool)) taken.push_back(object);
    ASSERT_EQ(taken.size(), most);
    EXPECT_EQ(alive_, static_cast<int>(most));
    for (size_t i = 0; i < most; ++i) {
      EXPECT_EQ(reinterpret_cast<uintptr_t>(taken[i]) % alignof(Object), 0u);
      std::memset(taken[i]->tail, static_cast<int>(i), tail_bytes);
    }
    for (size_t i = 0; i < most; ++i) {
      ASSERT_EQ(taken[i]->counter, &alive_) << "another's tail overlaps it";
      for (size_t b = 0; b < tail_bytes; b += 997)
        ASSERT_EQ(taken[i]->tail[b], static_cast<std::byte>(i));
      taken[i]->next = nullptr;
      pool.Return(taken[i]);
    }
    EXPECT_EQ(alive_, static_cast<int>(most)) << "kept for reuse";
  }
  EXPECT_EQ(alive_, 0);
}

TEST_F(SlabPoolTest, WhatCameBackLastIsTakenFirstAndNothingIsMadeAnew) {
  Pool pool(10, 0);
  Object* const first = TakeOne(pool);
  Object* const second = TakeOne(pool);
  pool.Return(first);
  pool.Return(second);
  EXPECT_EQ(TakeOne(pool), second);
  EXPECT_EQ(TakeOne(pool), first);
  EXPECT_EQ(alive_, 2);
  pool.Return(first);
  pool.Return(second);
}

TEST_F(SlabPoolTest, TakesManyAtOnceAndSaysHowMany) {
  Pool pool(10, 0);
  const auto make = [this](std::byte* place, std::byte*) {
    return new (place) Object(&alive_);
  };
  Object* head = nullptr;
  EXPECT_EQ(pool.Take(7, head, make), 7u);
  EXPECT_EQ(pool.Take(7, head, make), 3u);
  EXPECT_EQ(pool.Take(7, head, make), 0u);
  std::set<Object*> all;
  for (Object* one = head; one != nullptr; one = one->next) all.insert(one);
  EXPECT_EQ(all.size(), 10u);
  pool.Return(head);
}

TEST_F(SlabPoolTest, WithoutAddressSpaceItGivesNone) {
  Pool pool(1, size_t{1} << 60);
  EXPECT_EQ(TakeOne(pool), nullptr);
}

}  // namespace
}  // namespace yamanote::worker
