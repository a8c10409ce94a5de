// mutex_test.cc - mutex: on user threads, on kernel threads, and between both.

#include "yamanote/mutex.h"

#include <gtest/gtest.h>

#include <memory>
#include <mutex>
#include <stop_token>

#include "worker/sync/crew.h"

namespace yamanote {
namespace {

constexpr Instant kPast = Instant::min();

class MutexTest : public CrewTest {};
class RecursiveMutexTest : public CrewTest {};

TEST_P(MutexTest, ExcludesOthersUntilUnlocked) {
  Run([](Crew& crew) {
    Mutex mutex;
    mutex.lock();
    EXPECT_FALSE(mutex.try_lock());
    crew.Start([&] { EXPECT_FALSE(mutex.try_lock()); });
    crew.Join();
    mutex.unlock();
    crew.Start(2, [&] {
      const std::lock_guard lock(mutex);
      EXPECT_FALSE(mutex.try_lock());
    });
    crew.Join();
    EXPECT_TRUE(mutex.try_lock());
    mutex.unlock();
  });
}

TEST_P(MutexTest, NoIncrementIsLost) {
  Run([](Crew& crew) {
    constexpr int kThreads = 6;
    constexpr int kRounds = 300;
    Mutex mutex;
    int count = 0;
    crew.Start(kThreads, [&] {
      for (int i = 0; i < kRounds; ++i) {
        const std::lock_guard lock(mutex);
        const int before = count;
        if (i % 16 == 0) this_thread::yield();  // Makes others wait.
        count = before + 1;
      }
    });
    crew.Join();
    EXPECT_EQ(count, kThreads * kRounds);
  });
}

// A thread that always takes the mutex again at once must not starve a waiter:
// at the 4th unlock after the waiter's first wake-up it is handed over.
TEST_P(MutexTest, WaiterIsHandedTheMutex) {
  Run([](Crew& crew) {
    Mutex mutex;
    std::atomic<bool> waits{false};
    std::atomic<bool> got_it{false};
    mutex.lock();
    crew.Start(2, [&] {
      waits = true;
      const std::lock_guard lock(mutex);
      got_it = true;
    });
    Crew::Until([&] { return waits.load(); });
    // Without the hand-over this loop would not end on one worker: at each yield
    // the mutex is taken.
    while (!got_it) {
      this_thread::yield();
      mutex.unlock();
      mutex.lock();
    }
    mutex.unlock();
    crew.Join();
  });
}

TEST_P(MutexTest, GivesUpAtTheDeadline) {
  Run([](Crew& crew) {
    Mutex mutex;
    mutex.lock();
    crew.Start(3, [&] {
      EXPECT_FALSE(mutex.try_lock_until(kPast));
      EXPECT_FALSE(mutex.try_lock_for(-1ns));
      const Instant deadline = Clock::now() + kShort;
      EXPECT_FALSE(mutex.try_lock_until(deadline));
      EXPECT_GE(Clock::now(), deadline);
      EXPECT_FALSE(mutex.try_lock_for(kShort));
    });
    crew.Join();
    mutex.unlock();
    // Nothing of those who gave up is left: all paths still work.
    EXPECT_TRUE(mutex.try_lock());
    mutex.unlock();
    EXPECT_TRUE(mutex.try_lock_until(kPast)) << "a free mutex is taken";
    crew.Start(3, [&] {
      EXPECT_TRUE(mutex.try_lock_for(kLong));
      mutex.unlock();
      EXPECT_TRUE(mutex.try_lock_for(Duration::max()));
      mutex.unlock();
    });
    mutex.unlock();
    crew.Join();
  });
}

TEST_P(MutexTest, GivesUpWhenAsked) {
  Run([](Crew& crew) {
    Mutex mutex;
    std::stop_source source;
    std::atomic<int> waiting{0};
    mutex.lock();
    crew.Start(3, [&] {
      ++waiting;
      EXPECT_FALSE(mutex.lock(source.get_token()));
      EXPECT_FALSE(mutex.lock(source.get_token())) << "triggered before";
      EXPECT_FALSE(
          mutex.try_lock_until(source.get_token(), Clock::now() + kLong));
    });
    Crew::Until([&] { return waiting == 3; });
    source.request_stop();
    crew.Join();
    mutex.unlock();
    EXPECT_TRUE(mutex.lock(source.get_token())) << "a free mutex is taken";
    mutex.unlock();
  });
}

// Deadlines, stop requests and unlocks meet in all orders; nothing is lost and
// the last waiter is not forgotten.
TEST_P(MutexTest, SurvivesGivingUpUnderContention) {
  Run([](Crew& crew) {
    constexpr int kRounds = 200;
    Mutex mutex;
    int count = 0;
    std::atomic<int> expected{0};
    std::atomic<int> thread_number{0};
    crew.Start(6, [&] {
      const int number = thread_number++;
      for (int i = 0; i < kRounds; ++i) {
        bool locked = true;
        if (number % 3 == 0) {
          mutex.lock();
        } else if (number % 3 == 1) {
          locked = mutex.try_lock_for(Duration((i % 8) * 1000));
        } else {
          std::stop_source source;
          if (i % 4 == 0) source.request_stop();
          locked = mutex.try_lock_until(source.get_token(),
                                        Clock::now() + Duration(i % 8 * 1000));
        }
        if (!locked) continue;
        ++expected;
        const int before = count;
        if (i % 8 == 0) this_thread::yield();
        count = before + 1;
        mutex.unlock();
      }
    });
    crew.Join();
    EXPECT_EQ(count, expected);
  });
}

// As with a reference count under the mutex: who unlocks last destroys it, while
// an earlier unlock() may not have returned. ASan and TSan judge.
TEST_P(MutexTest, MayBeDestroyedByTheLastHolder) {
  struct Shared {
    Mutex mutex;
    int owners = 3;
  };
  Run([](Crew& crew) {
    for (int round = 0; round < 50; ++round) {
      auto* const shared = new Shared;
      crew.Start(shared->owners, [shared] {
        shared->mutex.lock();
        this_thread::yield();
        const bool last = --shared->owners == 0;
        shared->mutex.unlock();
        if (last) delete shared;
      });
      crew.Join();
    }
  });
}

TEST_P(RecursiveMutexTest, IsFreeAfterAsManyUnlocks) {
  Run([](Crew& crew) {
    RecursiveMutex mutex;
    const auto others_get_it = [&] {
      std::atomic<bool> got_it{false};
      crew.Start([&] {
        got_it = mutex.try_lock();
        if (got_it) mutex.unlock();
      });
      crew.Join();
      return got_it.load();
    };
    mutex.lock();
    EXPECT_TRUE(mutex.try_lock());
    EXPECT_TRUE(mutex.try_lock_until(kPast));
    for (int i = 0; i < 3; ++i) {
      EXPECT_FALSE(others_get_it());
      mutex.unlock();
    }
    EXPECT_TRUE(others_get_it());
  });
}

TEST_P(RecursiveMutexTest, NoIncrementIsLost) {
  Run([](Crew& crew) {
    RecursiveMutex mutex;
    int count = 0;
    crew.Start(4, [&] {
      for (int i = 0; i < 100; ++i) {
        const std::lock_guard outer(mutex);
        const int before = count;
        this_thread::yield();  // May go on on another core: still the holder.
        const std::lock_guard inner(mutex);
        count = before + 1;
      }
    });
    crew.Join();
    EXPECT_EQ(count, 400);
  });
}

TEST_P(RecursiveMutexTest, GivesUp) {
  Run([](Crew& crew) {
    RecursiveMutex mutex;
    std::stop_source source;
    source.request_stop();
    mutex.lock();
    crew.Start(2, [&] {
      EXPECT_FALSE(mutex.try_lock_for(kShort));
      EXPECT_FALSE(mutex.lock(source.get_token()));
    });
    crew.Join();
    EXPECT_TRUE(mutex.lock(source.get_token()));
    mutex.unlock();
    mutex.unlock();
  });
}

YAMANOTE_CREW_TESTS(MutexTest);
YAMANOTE_CREW_TESTS(RecursiveMutexTest);

TEST(MutexDeathTest, UnlockWithoutLock) {
  EXPECT_DEATH(Mutex().unlock(), "nobody holds");
  EXPECT_DEATH(RecursiveMutex().unlock(), "does not hold");
}

}  // namespace
}  // namespace yamanote
