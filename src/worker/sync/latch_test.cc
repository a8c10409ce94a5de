// latch_test.cc - latch: on user threads, on kernel threads, and between both.

#include "yamanote/latch.h"

#include <gtest/gtest.h>

#include <memory>

#include "worker/sync/crew.h"

namespace yamanote {
namespace {

class LatchTest : public CrewTest {};

TEST_P(LatchTest, OpensAtZeroAndStaysOpen) {
  Run([](Crew& crew) {
    Latch latch(3);
    int written = 0;
    EXPECT_FALSE(latch.try_wait());
    crew.Start([&] {
      written = 1;
      latch.count_down();
      latch.count_down(2);
    });
    latch.wait();
    EXPECT_EQ(written, 1);
    EXPECT_TRUE(latch.try_wait());
    latch.wait();
    latch.count_down(0);
    crew.Join();
    Latch open(0);
    open.wait();
  });
}

TEST_P(LatchTest, ReleasesAllWhoArrive) {
  Run([](Crew& crew) {
    constexpr int kThreads = 6;
    Latch latch(kThreads);
    std::atomic<int> arrived{0};
    crew.Start(kThreads, [&] {
      ++arrived;
      latch.arrive_and_wait();
      EXPECT_EQ(arrived, kThreads);
    });
    crew.Join();
  });
}

TEST_P(LatchTest, GivesUp) {
  Run([](Crew& crew) {
    Latch latch(1);
    std::stop_source source;
    EXPECT_FALSE(latch.wait_until(Instant::min()));
    const Instant deadline = Clock::now() + kShort;
    EXPECT_FALSE(latch.wait_until(deadline));
    EXPECT_GE(Clock::now(), deadline);
    std::atomic<int> gave_up{0};
    std::atomic<int> waiting{0};
    crew.Start(3, [&] {
      ++waiting;
      EXPECT_FALSE(latch.wait(source.get_token()));
      EXPECT_FALSE(latch.wait_until(source.get_token(), Clock::now() + kLong));
      ++gave_up;
      EXPECT_TRUE(latch.wait_for(kLong));
    });
    Crew::Until([&] { return waiting == 3; });
    source.request_stop();
    Crew::Until([&] { return gave_up == 3; });
    latch.count_down();
    crew.Join();
    EXPECT_TRUE(latch.wait_until(Instant::min()));
    EXPECT_TRUE(latch.wait(source.get_token()));
  });
}

TEST_P(LatchTest, MayBeDestroyedAfterTheWait) {
  Run([](Crew& crew) {
    for (int round = 0; round < 100; ++round) {
      auto latch = std::make_unique<Latch>(2);
      crew.Start(2, [&latch = *latch] { latch.count_down(); });
      if (round % 2 == 0) {
        latch->wait();
      } else {
        Crew::Until([&] { return latch->try_wait(); });
      }
      latch.reset();
      crew.Join();
    }
  });
}

YAMANOTE_CREW_TESTS(LatchTest);

TEST(LatchDeathTest, BelowZero) {
  Latch latch(1);
  EXPECT_DEATH(latch.count_down(2), "below zero");
}

}  // namespace
}  // namespace yamanote
