// stack_pool_test.cc - stacks are bounded, distinct, guarded and reused.

#include "worker/stack_pool.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cstring>
#include <set>
#include <string>
#include <vector>

#include "worker/thread_pool.h"

namespace yamanote::worker {
namespace {

constexpr size_t kStackBytes = 64 * 1024;

std::vector<Stack*> TakeAll(StackPool& pool, size_t count) {
  std::vector<Stack*> stacks;
  while (stacks.size() < count) {
    Stack* head = nullptr;
    size_t taken = 0;
    if (!pool.Take(count - stacks.size(), head, taken)) break;
    for (; head != nullptr; head = head->next) stacks.push_back(head);
  }
  return stacks;
}

TEST(StackPoolTest, StacksAreAlignedUsableAndApart) {
  StackPool pool(kStackBytes, 1000);
  const std::vector<Stack*> stacks = TakeAll(pool, 200);
  ASSERT_EQ(stacks.size(), 200u);
  std::set<char*> bottoms;
  for (const Stack* stack : stacks) {
    EXPECT_EQ(reinterpret_cast<uintptr_t>(stack->top) % 16, 0u);
    // At most 7 colours of 192 bytes are lost to staggering.
    EXPECT_GE(stack->top - stack->bottom,
              static_cast<ptrdiff_t>(kStackBytes - 7 * 192));
    std::memset(stack->bottom, 0x5a,
                static_cast<size_t>(stack->top - stack->bottom));
    EXPECT_TRUE(bottoms.insert(stack->bottom).second);
  }
  for (auto it = bottoms.begin(); std::next(it) != bottoms.end(); ++it) {
    EXPECT_GE(*std::next(it) - *it,
              static_cast<ptrdiff_t>(kStackBytes + kGuardBytes));
  }
}

TEST(StackPoolTest, ReturnedStacksAreReused) {
  StackPool pool(kStackBytes, 64);
  std::vector<Stack*> first = TakeAll(pool, 64);
  ASSERT_EQ(first.size(), 64u);
  for (Stack* stack : first) {
    stack->next = nullptr;
    pool.Return(stack, 1);
  }
  const std::vector<Stack*> second = TakeAll(pool, 64);
  EXPECT_EQ(std::set<Stack*>(first.begin(), first.end()),
            std::set<Stack*>(second.begin(), second.end()));
}

// The bound is rounded up to a slab of 64 stacks.
TEST(StackPoolTest, BeyondTheLimitIsRefusedWithTheRemedy) {
  StackPool pool(kStackBytes, 100);
  EXPECT_EQ(TakeAll(pool, 1000).size(), 128u);
  Stack* head = nullptr;
  size_t taken = 0;
  const Result<void> refused = pool.Take(1, head, taken);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, ErrorCode::kResourceExhausted);
  EXPECT_NE(refused.error().message.find("max_threads"), std::string::npos);
}

TEST(StackPoolTest, NoAddressSpaceIsAnErrorNotACrash) {
  StackPool pool(size_t{1} << 42, 64);  // A slab of 256 TiB.
  Stack* head = nullptr;
  size_t taken = 0;
  const Result<void> refused = pool.Take(1, head, taken);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, ErrorCode::kResourceExhausted);
}

TEST(StackPoolDeathTest, TheGuardFaults) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        StackPool pool(kStackBytes, 64);
        Stack* const stack = TakeAll(pool, 1).front();
        *static_cast<volatile char*>(stack->bottom - 1) = 1;
      },
      "");
  EXPECT_DEATH(
      {
        StackPool pool(kStackBytes, 64);
        Stack* const stack = TakeAll(pool, 1).front();
        *static_cast<volatile char*>(stack->bottom - kGuardBytes) = 1;
      },
      "");
}

TEST(FreeListTest, SpillsTheOldestAndKeepsTheNewest) {
  ThreadPool pool(1024);
  ThreadStock stock(pool);
  std::vector<UserThread*> taken;
  for (size_t i = 0; i < 2 * ThreadStock::kMost; ++i)
    taken.push_back(stock.Take());
  for (UserThread* thread : taken) {
    ASSERT_NE(thread, nullptr);
    stock.Return(thread);
    // What was returned last is taken first, however often the stock spilled.
    UserThread* const again = stock.Take();
    ASSERT_EQ(again, thread);
    stock.Return(again);
  }
}

TEST(FreeListTest, AnEmptyPoolGivesNull) {
  ThreadPool pool(128);
  ThreadStock stock(pool);
  std::set<UserThread*> taken;
  while (UserThread* const thread = stock.Take()) {
    EXPECT_TRUE(taken.insert(thread).second);
  }
  EXPECT_EQ(taken.size(), 128u);
  for (UserThread* thread : taken) stock.Return(thread);
}

}  // namespace
}  // namespace yamanote::worker
