// spin_lock_test.cc - exclusion and what unlock() makes visible, for TSan to see.

#include "base/spin_lock.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace yamanote::base {
namespace {

// A counter that is no atomic: a lost update or a race is a failure.
TEST(SpinLockTest, OneHolderAtATimeSeesWhatTheLastOneWrote) {
  constexpr int kThreads = 4;
  constexpr int kEach = 20'000;
  SpinLock lock;
  int count = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      for (int j = 0; j < kEach; ++j) {
        const std::lock_guard guard(lock);
        ++count;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(count, kThreads * kEach);
}

TEST(SpinLockTest, TryingDoesNotWait) {
  SpinLock lock;
  EXPECT_TRUE(lock.try_lock());
  EXPECT_FALSE(lock.try_lock());
  lock.unlock();
  EXPECT_TRUE(lock.try_lock());
  lock.unlock();
}

// The lock lies in what the waiter frees: ASan and TSan see an unlock() too late.
TEST(SpinLockTest, AfterAwaitReleaseTheLockMayBeFreed) {
  for (int i = 0; i < 1000; ++i) {
    auto lock = std::make_unique<SpinLock>();
    std::atomic<bool> held{false};
    std::thread holder([&held, raw = lock.get()] {
      raw->lock();
      held.store(true);
      raw->unlock();
    });
    while (!held.load()) std::this_thread::yield();
    lock->AwaitRelease();
    lock.reset();
    holder.join();
  }
}

}  // namespace
}  // namespace yamanote::base
