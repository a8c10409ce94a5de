// spin_lock_test.cc - exclusion and what unlock() makes visible, for TSan to see.

#include "base/spin_lock.h"

#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <memory>
#include <mutex>
#include <string>
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

// Else one that the kernel prefers keeps the holder from its core.
TEST(SpinLockTest, WhoWaitsForLongSleeps) {
  SpinLock lock;
  lock.lock();
  std::atomic<pid_t> waiter{0};
  std::thread other([&] {
    waiter = static_cast<pid_t>(syscall(SYS_gettid));
    const std::lock_guard guard(lock);
  });
  while (waiter == 0) std::this_thread::yield();
  const std::string status =
      "/proc/self/task/" + std::to_string(waiter.load()) + "/stat";
  // "1234 (name) S ...", proc(5).
  const auto state = [&] {
    std::ifstream file(status);
    std::string line;
    std::getline(file, line);
    return line[line.rfind(')') + 2];
  };
  while (state() != 'S') std::this_thread::yield();
  lock.unlock();
  other.join();
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
