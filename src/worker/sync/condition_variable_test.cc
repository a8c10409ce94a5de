// condition_variable_test.cc - condition variable: on user threads, on kernel threads, and between both.

#include "yamanote/condition_variable.h"

#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <stdexcept>
#include <vector>

#include "worker/sync/crew.h"

namespace yamanote {
namespace {

class ConditionVariableTest : public CrewTest {};

TEST_P(ConditionVariableTest, NotifyWithoutWaitersIsNotRemembered) {
  Run([](Crew&) {
    Mutex mutex;
    ConditionVariable cv;
    cv.notify_one();
    cv.notify_all();
    std::unique_lock lock(mutex);
    EXPECT_EQ(cv.wait_for(lock, kShort), std::cv_status::timeout);
    EXPECT_TRUE(lock.owns_lock());
    EXPECT_FALSE(mutex.try_lock()) << "the mutex is taken again";
  });
}

TEST_P(ConditionVariableTest, NotifyOneWakesInOrderOfArrival) {
  Run([](Crew& crew) {
    constexpr int kWaiters = 5;
    Mutex mutex;
    ConditionVariable cv;
    int waiting = 0;
    int turn = -1;
    std::vector<int> order;
    crew.Start(kWaiters, [&] {
      std::unique_lock lock(mutex);
      const int number = waiting++;
      cv.wait(lock);  // Never spurious, so no predicate.
      EXPECT_EQ(turn, number);
      order.push_back(number);
    });
    for (int i = 0; i < kWaiters; ++i) {
      Crew::Until([&] {
        const std::lock_guard lock(mutex);
        return waiting == kWaiters;
      });
      {
        const std::lock_guard lock(mutex);
        turn = i;
        cv.notify_one();
      }
      Crew::Until([&] {
        const std::lock_guard lock(mutex);
        return order.size() == static_cast<size_t>(i + 1);
      });
    }
    crew.Join();
    EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4}));
  });
}

TEST_P(ConditionVariableTest, NotifyAllWakesAll) {
  Run([](Crew& crew) {
    Mutex mutex;
    ConditionVariable cv;
    int waiting = 0;
    bool go = false;
    crew.Start(8, [&] {
      std::unique_lock lock(mutex);
      ++waiting;
      cv.wait(lock, [&] { return go; });
    });
    Crew::Until([&] {
      const std::lock_guard lock(mutex);
      return waiting == 8;
    });
    {
      const std::lock_guard lock(mutex);
      go = true;
    }
    cv.notify_all();  // Without the mutex: allowed.
    crew.Join();
  });
}

// Two threads hand a turn to and fro: each wake-up that is lost hangs the test.
TEST_P(ConditionVariableTest, PingPongLosesNoWakeUp) {
  Run([](Crew& crew) {
    constexpr int kRounds = 500;
    Mutex mutex;
    ConditionVariable changed;
    int turn = 0;
    std::atomic<int> players{0};
    crew.Start(2, [&] {
      const int me = players++;
      std::unique_lock lock(mutex);
      for (int i = 0; i < kRounds; ++i) {
        changed.wait(lock, [&] { return turn % 2 == me; });
        ++turn;
        changed.notify_one();
      }
    });
    crew.Join();
    EXPECT_EQ(turn, 2 * kRounds);
  });
}

// A queue of one element, several producers and consumers, notified with and
// without the mutex, some waits with deadlines so short that they often pass.
TEST_P(ConditionVariableTest, TinyQueueLosesNothing) {
  Run([](Crew& crew) {
    constexpr int kEach = 150;
    Mutex mutex;
    ConditionVariable not_empty;
    ConditionVariable not_full;
    std::deque<int> queue;
    int taken = 0;
    crew.Start(3, [&] {
      for (int i = 0; i < kEach; ++i) {
        std::unique_lock lock(mutex);
        while (!not_full.wait_for(lock, Duration(i % 4 * 1000),
                                  [&] { return queue.empty(); })) {
        }
        queue.push_back(i);
        if (i % 2 == 0) lock.unlock();
        not_empty.notify_one();
      }
    });
    crew.Start(3, [&] {
      for (int i = 0; i < kEach; ++i) {
        std::unique_lock lock(mutex);
        not_empty.wait(lock, [&] { return !queue.empty(); });
        queue.pop_front();
        ++taken;
        if (i % 2 == 0) lock.unlock();
        // All: a producer that is just giving up must not swallow the wake-up.
        not_full.notify_all();
      }
    });
    crew.Join();
    EXPECT_EQ(taken, 3 * kEach);
  });
}

// A waiter that gives up in the moment of the notification must not swallow it:
// of two waiters, one always goes on.
TEST_P(ConditionVariableTest, GivingUpDoesNotSwallowANotification) {
  Run([](Crew& crew) {
    for (int round = 0; round < 100; ++round) {
      Mutex mutex;
      ConditionVariable cv;
      std::stop_source source;
      int waiting = 0;
      bool go = false;
      crew.Start([&] {
        std::unique_lock lock(mutex);
        ++waiting;
        // A notified thread that leaves passes the notification on itself.
        if (cv.wait_until(lock, source.get_token(),
                          Clock::now() + Duration(round * 100),
                          [&] { return go; })) {
          cv.notify_one();
        }
      });
      crew.Start([&] {
        std::unique_lock lock(mutex);
        ++waiting;
        cv.wait(lock, [&] { return go; });
      });
      Crew::Until([&] {
        const std::lock_guard lock(mutex);
        return waiting == 2;
      });
      {
        const std::lock_guard lock(mutex);
        go = true;
      }
      if (round % 2 == 0) {
        cv.notify_one();
        source.request_stop();
      } else {
        source.request_stop();
        cv.notify_one();
      }
      crew.Join();
    }
  });
}

TEST_P(ConditionVariableTest, DeadlinesInThePastAndFarAway) {
  Run([](Crew& crew) {
    Mutex mutex;
    ConditionVariable cv;
    bool go = false;
    std::unique_lock lock(mutex);
    EXPECT_EQ(cv.wait_until(lock, Instant::min()), std::cv_status::timeout);
    EXPECT_FALSE(cv.wait_for(lock, -1h, [&] { return go; }));
    EXPECT_TRUE(cv.wait_until(lock, Instant::min(), [&] { return true; }));
    const Instant deadline = Clock::now() + kShort;
    EXPECT_FALSE(cv.wait_until(lock, deadline, [&] { return go; }));
    EXPECT_GE(Clock::now(), deadline);
    crew.Start([&] {
      const std::lock_guard guard(mutex);
      go = true;
      cv.notify_one();
    });
    EXPECT_TRUE(cv.wait_for(lock, kLong, [&] { return go; }));
    go = false;
    crew.Start([&] {
      const std::lock_guard guard(mutex);
      go = true;
      cv.notify_one();
    });
    EXPECT_TRUE(cv.wait_for(lock, Duration::max(), [&] { return go; }));
    lock.unlock();
    crew.Join();
  });
}

TEST_P(ConditionVariableTest, StopTokenEndsTheWait) {
  Run([](Crew& crew) {
    Mutex mutex;
    ConditionVariable cv;
    std::stop_source source;
    std::atomic<int> waiting{0};
    crew.Start(4, [&] {
      std::unique_lock lock(mutex);
      ++waiting;
      EXPECT_FALSE(cv.wait(lock, source.get_token(), [] { return false; }));
      EXPECT_TRUE(lock.owns_lock());
      EXPECT_FALSE(cv.wait_for(lock, source.get_token(), kLong, [] {
        return false;
      })) << "triggered before";
      EXPECT_TRUE(cv.wait(lock, source.get_token(), [] { return true; }));
    });
    Crew::Until([&] { return waiting == 4; });
    source.request_stop();
    crew.Join();
  });
}

TEST_P(ConditionVariableTest, PredicateMayThrow) {
  Run([](Crew& crew) {
    Mutex mutex;
    ConditionVariable cv;
    bool go = false;
    std::atomic<int> caught{0};
    std::atomic<int> waiting{0};
    crew.Start(2, [&] {
      std::unique_lock lock(mutex);
      ++waiting;
      const auto predicate = [&]() -> bool {
        if (go) throw std::runtime_error("refused");
        return false;
      };
      try {
        cv.wait(lock, predicate);
        ADD_FAILURE() << "did not throw";
      } catch (const std::runtime_error&) {
        ++caught;
      }
      EXPECT_TRUE(lock.owns_lock());
      // In a handler, too, a thread may block.
      try {
        throw 1;
      } catch (int) {
        EXPECT_EQ(cv.wait_for(lock, kShort), std::cv_status::timeout);
      }
    });
    Crew::Until([&] { return waiting == 2; });
    {
      const std::lock_guard lock(mutex);
      go = true;
      cv.notify_all();
    }
    crew.Join();
    EXPECT_EQ(caught, 2);
  });
}

// The last to leave wait() destroys what it waited on.
TEST_P(ConditionVariableTest, MayBeDestroyedAfterTheWait) {
  struct Shared {
    Mutex mutex;
    ConditionVariable cv;
    bool go = false;
  };
  Run([](Crew& crew) {
    for (int round = 0; round < 50; ++round) {
      auto shared = std::make_unique<Shared>();
      crew.Start([&shared = *shared] {
        const std::lock_guard lock(shared.mutex);
        shared.go = true;
        shared.cv.notify_all();
      });
      std::unique_lock lock(shared->mutex);
      shared->cv.wait(lock, [&] { return shared->go; });
      lock.unlock();
      shared.reset();
      crew.Join();
    }
  });
}

YAMANOTE_CREW_TESTS(ConditionVariableTest);

TEST(ConditionVariableDeathTest, WaitWithoutTheMutex) {
  Mutex mutex;
  std::unique_lock lock(mutex, std::defer_lock);
  ConditionVariable cv;
  EXPECT_DEATH(cv.wait(lock), "needs the mutex locked");
}

}  // namespace
}  // namespace yamanote
