// locks_test.cc - what a held lock of the process does to preemption.

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <threads.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <mutex>
#include <shared_mutex>
#include <stdexcept>
#include <thread>

#include "preempt/flag.h"
#include "preempt/probe.h"
#include "yamanote/preempt.h"

// What locks_test_library.cc calls.
static int g_library_calls = 0;
static int g_library_calls_locked = 0;
extern "C" void LocksTestMeanwhile();

namespace yamanote::preempt {
namespace {

using namespace std::chrono_literals;

uint32_t Held() { return OwnState().disabled / kOneLock; }

// On a thread of its own, whose lock it is; so that try_lock() fails here.
template <typename Lock>
class HeldElsewhere {
 public:
  explicit HeldElsewhere(Lock& lock)
      : thread_([this, &lock] {
          lock.lock();
          locked_ = true;
          while (!release_) std::this_thread::yield();
          lock.unlock();
        }) {
    while (!locked_) std::this_thread::yield();
  }
  ~HeldElsewhere() {
    release_ = true;
    thread_.join();
  }

 private:
  std::atomic<bool> locked_{false};
  std::atomic<bool> release_{false};
  std::thread thread_;
};

TEST(LocksTest, AHeldMutexCountsUntilItIsUnlocked) {
  std::mutex outer, inner;
  {
    const std::lock_guard a(outer);
    EXPECT_EQ(Held(), 1U);
    {
      const std::scoped_lock b(inner);
      EXPECT_EQ(Held(), 2U);
    }
    EXPECT_EQ(Held(), 1U);
  }
  EXPECT_EQ(Held(), 0U);
}

TEST(LocksTest, ARecursiveMutexCountsEachTime) {
  std::recursive_mutex mutex;
  const std::lock_guard a(mutex);
  const std::lock_guard b(mutex);
  EXPECT_EQ(Held(), 2U);
}

TEST(LocksTest, LocksThatLibcTakesCount) {
  mtx_t mutex;
  ASSERT_EQ(mtx_init(&mutex, mtx_timed), thrd_success);
  ASSERT_EQ(mtx_lock(&mutex), thrd_success);
  EXPECT_EQ(Held(), 1U);
  EXPECT_EQ(mtx_trylock(&mutex), thrd_busy);
  EXPECT_EQ(Held(), 1U);
  ASSERT_EQ(mtx_unlock(&mutex), thrd_success);
  EXPECT_EQ(Held(), 0U);
  const timespec soon{.tv_sec = std::time(nullptr) + 10, .tv_nsec = 0};
  ASSERT_EQ(mtx_timedlock(&mutex, &soon), thrd_success);
  EXPECT_EQ(Held(), 1U);
  ASSERT_EQ(mtx_unlock(&mutex), thrd_success);
  mtx_destroy(&mutex);
  flockfile(stdout);
  EXPECT_EQ(Held(), 1U);
  ASSERT_EQ(ftrylockfile(stdout), 0);
  EXPECT_EQ(Held(), 2U);
  funlockfile(stdout);
  funlockfile(stdout);
  EXPECT_EQ(Held(), 0U);
}

TEST(LocksTest, ALockThatIsNotTakenDoesNotCount) {
  std::mutex mutex;
  std::timed_mutex timed;
  std::shared_mutex shared;
  const HeldElsewhere a(mutex);
  const HeldElsewhere b(timed);
  const HeldElsewhere c(shared);
  EXPECT_FALSE(mutex.try_lock());
  EXPECT_FALSE(timed.try_lock_for(1ms));
  EXPECT_FALSE(timed.try_lock_until(std::chrono::system_clock::now()));
  EXPECT_FALSE(shared.try_lock());
  EXPECT_FALSE(shared.try_lock_shared());
  EXPECT_EQ(Held(), 0U);
}

TEST(LocksTest, ReadersAndWritersCount) {
  std::shared_mutex mutex;
  {
    const std::shared_lock reader(mutex);
    EXPECT_EQ(Held(), 1U);
  }
  {
    const std::unique_lock writer(mutex);
    EXPECT_EQ(Held(), 1U);
  }
  std::shared_timed_mutex timed;
  ASSERT_TRUE(timed.try_lock_shared_for(1s));
  EXPECT_EQ(Held(), 1U);
  timed.unlock_shared();
  EXPECT_EQ(Held(), 0U);
}

TEST(LocksTest, ProbesWaitForTheUnlock) {
  static int hits;
  hits = 0;
  SetHandler([] {
    Answer(OwnState());
    ++hits;
  });
  std::mutex mutex;
  Ask(OwnState(), {});
  {
    const std::lock_guard lock(mutex);
    Probe();
    EXPECT_EQ(hits, 0);
  }
  EXPECT_EQ(hits, 0) << "unlocking may happen in a library: it is no probe";
  Probe();
  EXPECT_EQ(hits, 1);
  SetHandler(nullptr);
}

TEST(LocksTest, TheInitialiserOfALocalStaticIsNotInterrupted) {
  struct Counts {
    Counts() : held(Held()) {}
    uint32_t held;
  };
  static Counts counts;
  EXPECT_EQ(counts.held, 1U);
  EXPECT_EQ(Held(), 0U);
}

TEST(LocksTest, AnInitialiserThatThrowsGivesTheGuardBack) {
  const auto make = [] {
    struct Throws {
      Throws() { throw std::runtime_error("no"); }
    };
    static Throws throws;
  };
  EXPECT_THROW(make(), std::runtime_error);
  EXPECT_THROW(make(), std::runtime_error);
  EXPECT_EQ(Held(), 0U);
}

TEST(LocksTest, CallOnceIsNotInterruptedAndMayThrow) {
  std::once_flag once;
  uint32_t held = 0;
  EXPECT_THROW(std::call_once(once, [] { throw std::runtime_error("no"); }),
               std::runtime_error);
  EXPECT_EQ(Held(), 0U);
  std::call_once(once, [&] { held = Held(); });
  EXPECT_EQ(held, 1U);
  EXPECT_EQ(Held(), 0U);
}

TEST(LocksTest, ConstructorsAndDestructorsOfALibraryCountAsHeld) {
  void* const library = dlopen(LOCKS_TEST_LIBRARY, RTLD_NOW);
  ASSERT_NE(library, nullptr) << dlerror();
  EXPECT_EQ(g_library_calls, 1);
  EXPECT_EQ(g_library_calls_locked, 1);
  EXPECT_EQ(Held(), 0U);
  EXPECT_EQ(dlclose(library), 0);
  EXPECT_EQ(g_library_calls, 2);
  EXPECT_EQ(g_library_calls_locked, 2);
  EXPECT_EQ(Held(), 0U);
}

// Legal for none of them, but programs do it; it must not count below zero.
TEST(LocksTest, AnUnlockByAnotherThreadDoesNotUnderflow) {
  std::mutex mutex;
  mutex.lock();
  std::thread([&] {
    mutex.unlock();
    EXPECT_EQ(OwnState().disabled, 0U);
  }).join();
  OwnState().disabled = 0;
}

}  // namespace
}  // namespace yamanote::preempt

void LocksTestMeanwhile() {
  ++g_library_calls;
  if (yamanote::preempt::OwnState().disabled >= yamanote::preempt::kOneLock)
    ++g_library_calls_locked;
}
