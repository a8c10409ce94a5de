// stack_pool_test.cc - stacks are bounded, distinct, guarded and reused.

#include "worker/stack_pool.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include <algorithm>
#include <cerrno>
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

// A gibibyte of free stacks stays as it is, here 16; what is beyond goes back to
// the kernel, together or one by one.
TEST(StackPoolTest, PagesBeyondTheWarmStacksGoBack) {
  constexpr size_t kLarge = size_t{64} << 20;
  constexpr size_t kWarm = 16;
  for (const size_t batch : {size_t{1}, size_t{40}, size_t{128}}) {
    SCOPED_TRACE(batch);
    StackPool pool(kLarge, 128);
    const std::vector<Stack*> stacks = TakeAll(pool, 128);
    ASSERT_EQ(stacks.size(), 128u);
    for (Stack* stack : stacks) {
      stack->top[-1] = 1;
      stack->touched = true;
    }
    for (size_t first = 0; first < stacks.size(); first += batch) {
      const size_t end = std::min(first + batch, stacks.size());
      for (size_t i = first; i < end; ++i)
        stacks[i]->next = i + 1 < end ? stacks[i + 1] : nullptr;
      pool.Return(stacks[first], end - first);
    }
    size_t resident = 0;
    for (const Stack* stack : stacks) {
      const auto page = (reinterpret_cast<uintptr_t>(stack->top) - 1) / 4096;
      unsigned char in_memory = 0;
      // NOLINTNEXTLINE(performance-no-int-to-ptr)
      ASSERT_EQ(mincore(reinterpret_cast<void*>(page * 4096), 1, &in_memory),
                0);
      resident += in_memory & 1;
    }
    EXPECT_EQ(resident, kWarm);
  }
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

// Where guards are mappings, vm.max_map_count is reached in the middle of a slab.
// The stacks before the refused guard must not be handed out later: their memory
// is gone.
TEST(StackPoolTest, AGuardRefusedHalfWayLeavesThePoolAsItWas) {
  static int guards_left = 0;
  guards_left = 64 + 10;
  StackPool pool(kStackBytes, 1000, [](void* memory, size_t bytes, int how) {
    errno = ENOMEM;
    return guards_left-- > 0 ? mprotect(memory, bytes, how) : -1;
  });
  const std::vector<Stack*> first = TakeAll(pool, 64);
  ASSERT_EQ(first.size(), 64u);
  for (int attempt = 0; attempt < 2; ++attempt) {
    SCOPED_TRACE(attempt);
    Stack* head = nullptr;
    size_t taken = 0;
    const Result<void> refused = pool.Take(1, head, taken);
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().code, ErrorCode::kResourceExhausted);
    EXPECT_NE(refused.error().message.find("vm.max_map_count"),
              std::string::npos);
    EXPECT_EQ(head, nullptr);
    guards_left = 10;
  }
  guards_left = 1000;
  const std::vector<Stack*> second = TakeAll(pool, 64);
  ASSERT_EQ(second.size(), 64u);
  for (Stack* stack : second) {
    std::memset(stack->bottom, 0x5a,
                static_cast<size_t>(stack->top - stack->bottom));
    stack->next = nullptr;
    pool.Return(stack, 1);
  }
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
