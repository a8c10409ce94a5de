// child_test.cc - children share memory, say whether they live, and end.

#include "tools/bench/cores/child.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <thread>

namespace yamanote::bench {
namespace {

using namespace std::chrono_literals;

TEST(ChildTest, WritesIntoSharedMemory) {
  const SharedObjects<std::atomic<int>> value;
  Result<Child> child = Child::Fork([&] {
    value->store(42);
    return 0;
  });
  ASSERT_TRUE(child);
  while (child->Alive()) std::this_thread::sleep_for(1ms);
  EXPECT_EQ(value->load(), 42);
}

TEST(ChildTest, ItsProcessorTimeIsCounted) {
  const SharedObjects<std::atomic<bool>> done;
  Result<Child> child = Child::Fork([&] {
    const auto end = std::chrono::steady_clock::now() + 50ms;
    while (std::chrono::steady_clock::now() < end) {
    }
    done->store(true);
    for (;;) pause();
    return 0;
  });
  ASSERT_TRUE(child);
  while (!done->load()) std::this_thread::sleep_for(1ms);
  EXPECT_GT(child->Cpu(), 5ms);
  EXPECT_TRUE(child->Alive());
  child->End();
  EXPECT_FALSE(child->Alive());
  EXPECT_EQ(child->Cpu(), Duration::zero());
}

TEST(ChildTest, OneThatDoesNotListenIsKilled) {
  const SharedObjects<std::atomic<bool>> ready;
  Result<Child> child = Child::Fork([&] {
    signal(SIGTERM, SIG_IGN);
    ready->store(true);
    for (;;) pause();
    return 0;
  });
  ASSERT_TRUE(child);
  while (!ready->load()) std::this_thread::sleep_for(1ms);
  child->End();
  EXPECT_FALSE(child->Alive());
}

}  // namespace
}  // namespace yamanote::bench
