// shared_mutex_test.cc - shared mutex: on user threads, on kernel threads, and between both.

#include "yamanote/shared_mutex.h"

#include <gtest/gtest.h>

#include <mutex>
#include <shared_mutex>
#include <vector>

#include "worker/sync/crew.h"

namespace yamanote {
namespace {

class SharedMutexTest : public CrewTest {};

TEST_P(SharedMutexTest, ReadersShareWritersExclude) {
  Run([](Crew& crew) {
    SharedMutex mutex;
    mutex.lock_shared();
    mutex.lock_shared();
    EXPECT_FALSE(mutex.try_lock());
    EXPECT_TRUE(mutex.try_lock_shared());
    for (int i = 0; i < 3; ++i) mutex.unlock_shared();
    mutex.lock();
    crew.Start([&] {
      EXPECT_FALSE(mutex.try_lock());
      EXPECT_FALSE(mutex.try_lock_shared());
    });
    crew.Join();
    mutex.unlock();
    EXPECT_TRUE(mutex.try_lock());
    mutex.unlock();
  });
}

TEST_P(SharedMutexTest, WritersAreAloneAndReadersSeeWholeWrites) {
  Run([](Crew& crew) {
    SharedMutex mutex;
    int a = 0;
    int b = 0;
    std::atomic<int> inside{0};
    crew.Start(2, [&] {
      for (int i = 0; i < 200; ++i) {
        const std::unique_lock lock(mutex);
        EXPECT_EQ(inside, 0);
        ++a;
        if (i % 8 == 0) this_thread::yield();
        ++b;
      }
    });
    crew.Start(4, [&] {
      for (int i = 0; i < 200; ++i) {
        const std::shared_lock lock(mutex);
        ++inside;
        EXPECT_EQ(a, b);
        if (i % 8 == 0) this_thread::yield();
        --inside;
      }
    });
    crew.Join();
    EXPECT_EQ(a, 400);
  });
}

// A waiting writer keeps new readers out, and the readers that wait come before
// the next writer.
TEST_P(SharedMutexTest, WritersAndReadersTakeTurns) {
  Run([](Crew& crew) {
    SharedMutex mutex;
    std::mutex order_mutex;  // Never contended across a block.
    std::vector<char> order;
    const auto note = [&](char who) {
      const std::lock_guard lock(order_mutex);
      order.push_back(who);
    };
    std::atomic<int> started{0};
    mutex.lock_shared();
    const auto writer = [&] {
      ++started;
      const std::lock_guard lock(mutex);
      note('w');
    };
    const auto reader = [&] {
      ++started;
      const std::shared_lock lock(mutex);
      note('r');
    };
    crew.Start(writer);
    // The writer waits once readers are refused.
    Crew::Until([&] {
      if (!mutex.try_lock_shared()) return true;
      mutex.unlock_shared();
      return false;
    });
    EXPECT_FALSE(mutex.try_lock_shared_for(kShort));
    crew.Start(2, reader);
    crew.Start(1, writer);
    Crew::Until([&] { return started == 4; });
    mutex.unlock_shared();
    crew.Join();
    ASSERT_EQ(order.size(), 4u);
    EXPECT_EQ(order[0], 'w') << "the first writer waited first";
  });
}

TEST_P(SharedMutexTest, GivesUp) {
  Run([](Crew& crew) {
    SharedMutex mutex;
    std::stop_source source;
    mutex.lock();
    std::atomic<int> waiting{0};
    crew.Start(4, [&] {
      EXPECT_FALSE(mutex.try_lock_until(Instant::min()));
      EXPECT_FALSE(mutex.try_lock_shared_until(Instant::min()));
      const Instant deadline = Clock::now() + kShort;
      EXPECT_FALSE(mutex.try_lock_until(deadline));
      EXPECT_GE(Clock::now(), deadline);
      EXPECT_FALSE(mutex.try_lock_shared_for(kShort));
      if (++waiting % 2 == 0) {
        EXPECT_FALSE(mutex.lock(source.get_token()));
        EXPECT_FALSE(
            mutex.try_lock_until(source.get_token(), Clock::now() + kLong));
      } else {
        EXPECT_FALSE(mutex.lock_shared(source.get_token()));
        EXPECT_FALSE(mutex.try_lock_shared_until(source.get_token(),
                                                 Clock::now() + kLong));
      }
    });
    Crew::Until([&] { return waiting == 4; });
    source.request_stop();
    crew.Join();
    mutex.unlock();
    EXPECT_TRUE(mutex.try_lock_for(kLong));
    mutex.unlock();
    EXPECT_TRUE(mutex.try_lock_shared_for(kLong));
    mutex.unlock_shared();
  });
}

// Readers that wait only for a writer that waits must go on when it gives up.
TEST_P(SharedMutexTest, ReadersGoOnWhenTheWriterGivesUp) {
  Run([](Crew& crew) {
    SharedMutex mutex;
    std::stop_source source;
    mutex.lock_shared();
    crew.Start([&] { EXPECT_FALSE(mutex.lock(source.get_token())); });
    Crew::Until([&] {
      if (!mutex.try_lock_shared()) return true;
      mutex.unlock_shared();
      return false;
    });
    std::atomic<int> waiting{0};
    std::atomic<int> reading{0};
    crew.Start(3, [&] {
      ++waiting;
      mutex.lock_shared();
      ++reading;
      mutex.unlock_shared();
    });
    Crew::Until([&] { return waiting == 3; });
    EXPECT_EQ(reading, 0);
    source.request_stop();
    Crew::Until([&] { return reading == 3; });  // Still held shared here.
    mutex.unlock_shared();
    crew.Join();
  });
}

TEST_P(SharedMutexTest, SurvivesGivingUpUnderContention) {
  Run([](Crew& crew) {
    SharedMutex mutex;
    int count = 0;
    std::atomic<int> expected{0};
    std::atomic<int> numbers{0};
    crew.Start(6, [&] {
      const int number = numbers++;
      for (int i = 0; i < 150; ++i) {
        const Duration patience(i % 6 * 500);
        if ((number + i) % 3 == 0) {
          if (!mutex.try_lock_for(patience)) continue;
          ++expected;
          const int before = count;
          if (i % 4 == 0) this_thread::yield();
          count = before + 1;
          mutex.unlock();
        } else {
          if (!mutex.try_lock_shared_for(patience)) continue;
          const int before = count;
          if (i % 4 == 0) this_thread::yield();
          EXPECT_EQ(count, before);
          mutex.unlock_shared();
        }
      }
    });
    crew.Join();
    EXPECT_EQ(count, expected);
    EXPECT_TRUE(mutex.try_lock());
    mutex.unlock();
  });
}

YAMANOTE_CREW_TESTS(SharedMutexTest);

TEST(SharedMutexDeathTest, UnlockWithoutLock) {
  SharedMutex mutex;
  EXPECT_DEATH(mutex.unlock(), "no writer holds");
  EXPECT_DEATH(mutex.unlock_shared(), "no reader holds");
}

}  // namespace
}  // namespace yamanote
