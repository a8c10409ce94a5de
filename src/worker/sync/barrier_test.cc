// barrier_test.cc - barrier: on user threads, on kernel threads, and between both.

#include "yamanote/barrier.h"

#include <gtest/gtest.h>

#include <memory>

#include "worker/sync/crew.h"

namespace yamanote {
namespace {

class BarrierTest : public CrewTest {};

// Nobody enters a round before all have left the one before, and the completion
// function runs once per round, after all arrivals and before all returns.
TEST_P(BarrierTest, KeepsThreadsInStep) {
  Run([](Crew& crew) {
    constexpr int kThreads = 4;
    constexpr int kRounds = 150;
    std::atomic<int> in_round{0};
    int arrivals = 0;  // Not atomic: the barrier orders it.
    int completions = 0;
    Barrier barrier(kThreads, [&]() noexcept {
      arrivals += in_round.exchange(0);
      ++completions;
    });
    crew.Start(kThreads, [&] {
      for (int round = 1; round <= kRounds; ++round) {
        ++in_round;
        barrier.arrive_and_wait();
        EXPECT_EQ(completions, round);
        EXPECT_EQ(arrivals, round * kThreads);
      }
    });
    crew.Join();
    EXPECT_EQ(completions, kRounds);
  });
}

TEST_P(BarrierTest, ArriveDoesNotWait) {
  Run([](Crew& crew) {
    Barrier barrier(3);
    auto token = barrier.arrive(2);
    EXPECT_FALSE(barrier.wait_until(token, Instant::min()));
    crew.Start([&] { static_cast<void>(barrier.arrive()); });
    barrier.wait(std::move(token));
    crew.Join();
  });
}

TEST_P(BarrierTest, DropLowersTheNextPhases) {
  Run([](Crew& crew) {
    Barrier barrier(2);
    crew.Start([&] { barrier.arrive_and_drop(); });
    barrier.arrive_and_wait();
    barrier.arrive_and_wait();  // Alone now.
    crew.Join();
  });
}

TEST_P(BarrierTest, GivesUpButStaysArrived) {
  Run([](Crew& crew) {
    Barrier barrier(2);
    std::stop_source source;
    const auto token = barrier.arrive();
    const Instant deadline = Clock::now() + kShort;
    EXPECT_FALSE(barrier.wait_until(token, deadline));
    EXPECT_GE(Clock::now(), deadline);
    std::atomic<int> gave_up{0};
    std::atomic<bool> waits{false};
    crew.Start([&] {
      waits = true;
      EXPECT_FALSE(barrier.wait(token, source.get_token()));
      EXPECT_FALSE(
          barrier.wait_until(token, source.get_token(), Clock::now() + kLong));
      ++gave_up;
      EXPECT_TRUE(barrier.wait_for(token, kLong));
    });
    Crew::Until([&] { return waits.load(); });
    source.request_stop();
    Crew::Until([&] { return gave_up == 1; });
    static_cast<void>(barrier.arrive());
    crew.Join();
    EXPECT_TRUE(barrier.wait_for(token, Duration::zero()));
  });
}

TEST_P(BarrierTest, CompletionMayBlock) {
  Run([](Crew& crew) {
    Barrier gate(2);
    Barrier barrier(2, [&]() noexcept { gate.arrive_and_wait(); });
    crew.Start([&] { gate.arrive_and_wait(); });
    crew.Start(2, [&] { barrier.arrive_and_wait(); });
    crew.Join();
  });
}

YAMANOTE_CREW_TESTS(BarrierTest);

TEST(BarrierDeathTest, TooManyArrivals) {
  Barrier barrier(1);
  EXPECT_DEATH(static_cast<void>(barrier.arrive(2)), "more arrivals");
}

}  // namespace
}  // namespace yamanote
