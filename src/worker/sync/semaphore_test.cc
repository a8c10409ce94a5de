// semaphore_test.cc - semaphore: on user threads, on kernel threads, and between both.

#include "yamanote/semaphore.h"

#include <gtest/gtest.h>

#include <memory>
#include <mutex>
#include <vector>

#include "worker/sync/crew.h"
#include "yamanote/mutex.h"

namespace yamanote {
namespace {

class SemaphoreTest : public CrewTest {};

TEST_P(SemaphoreTest, CountsPermits) {
  Run([](Crew&) {
    CountingSemaphore<3> semaphore(2);
    EXPECT_EQ(semaphore.max(), 3);
    semaphore.acquire();
    EXPECT_TRUE(semaphore.try_acquire());
    EXPECT_FALSE(semaphore.try_acquire());
    semaphore.release(0);
    EXPECT_FALSE(semaphore.try_acquire());
    semaphore.release(3);
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(semaphore.try_acquire());
  });
}

TEST_P(SemaphoreTest, NoMoreThanThePermitsAreInside) {
  Run([](Crew& crew) {
    CountingSemaphore<2> semaphore(2);
    std::atomic<int> inside{0};
    std::atomic<int> entered{0};
    crew.Start(6, [&] {
      for (int i = 0; i < 100; ++i) {
        semaphore.acquire();
        EXPECT_LE(++inside, 2);
        this_thread::yield();
        --inside;
        ++entered;
        semaphore.release();
      }
    });
    crew.Join();
    EXPECT_EQ(entered, 600);
  });
}

TEST_P(SemaphoreTest, ReleaseOfManyServesWaitersFirst) {
  Run([](Crew& crew) {
    CountingSemaphore<> semaphore(0);
    crew.Start(3, [&] { semaphore.acquire(); });
    semaphore.release(5);
    crew.Join();
    EXPECT_TRUE(semaphore.try_acquire());
    EXPECT_TRUE(semaphore.try_acquire());
    EXPECT_FALSE(semaphore.try_acquire());
  });
}

TEST_P(SemaphoreTest, GivesUpWithoutTakingAPermit) {
  Run([](Crew& crew) {
    BinarySemaphore semaphore(0);
    std::stop_source source;
    EXPECT_FALSE(semaphore.try_acquire_until(Instant::min()));
    EXPECT_FALSE(semaphore.try_acquire_for(-1s));
    const Instant deadline = Clock::now() + kShort;
    EXPECT_FALSE(semaphore.try_acquire_until(deadline));
    EXPECT_GE(Clock::now(), deadline);
    std::atomic<int> waiting{0};
    crew.Start(3, [&] {
      ++waiting;
      EXPECT_FALSE(semaphore.acquire(source.get_token()));
      EXPECT_FALSE(semaphore.try_acquire_until(source.get_token(),
                                               Clock::now() + kLong));
    });
    Crew::Until([&] { return waiting == 3; });
    source.request_stop();
    crew.Join();
    semaphore.release();
    EXPECT_TRUE(semaphore.acquire(source.get_token())) << "no need to wait";
    semaphore.release();
    EXPECT_TRUE(semaphore.try_acquire_for(kLong));
  });
}

// Permits meet waiters whose deadline passes: none is lost, none doubled.
TEST_P(SemaphoreTest, PermitsAreConserved) {
  Run([](Crew& crew) {
    constexpr int kPermits = 2;
    CountingSemaphore<kPermits> semaphore(kPermits);
    crew.Start(6, [&] {
      for (int i = 0; i < 150; ++i) {
        if (!semaphore.try_acquire_for(Duration(i % 5 * 500))) continue;
        if (i % 4 == 0) this_thread::yield();
        semaphore.release();  // Aborts if a permit was doubled.
      }
    });
    crew.Join();
    for (int i = 0; i < kPermits; ++i) EXPECT_TRUE(semaphore.try_acquire());
    EXPECT_FALSE(semaphore.try_acquire());
  });
}

TEST_P(SemaphoreTest, MayBeDestroyedByWhoAcquires) {
  Run([](Crew& crew) {
    for (int round = 0; round < 100; ++round) {
      auto semaphore = std::make_unique<BinarySemaphore>(0);
      crew.Start([&semaphore = *semaphore] { semaphore.release(); });
      semaphore->acquire();
      semaphore.reset();
      crew.Join();
    }
  });
}

YAMANOTE_CREW_TESTS(SemaphoreTest);

TEST(SemaphoreDeathTest, ReleaseBeyondTheMaximum) {
  BinarySemaphore semaphore(1);
  EXPECT_DEATH(semaphore.release(), "beyond the semaphore's max");
  EXPECT_DEATH(semaphore.release(-1), "count >= 0");
}

}  // namespace
}  // namespace yamanote
