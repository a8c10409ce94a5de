// stints_test.cc - which preemptions tell how exact a slice is.

#include "tools/bench/stints.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace yamanote::bench {
namespace {

using namespace std::chrono_literals;

Instant At(Duration time) { return Instant(time); }

// A request from 0 that stays; one more at 3 us that ends at 20 us; one at 50 us.
class StintsTest : public testing::Test {
 protected:
  // One request ran from `begun` to `stopped`; slice 5 us.
  StintFigures Judge(Duration begun, Duration stopped, unsigned cores = 1) {
    const Preempted one{
        .begun = At(begun), .stopped = At(stopped), .ran = stopped - begun};
    StintFigures figures;
    AddStints(
        {&one, 1}, population_, cores, 5us,
        [](Instant, Instant) { return false; }, figures);
    return figures;
  }

  const Population population_{{At(0us), At(3us), At(50us)}, {At(20us)}};
};

TEST_F(StintsTest, CountsThoseInTheSystem) {
  EXPECT_EQ(population_.At(At(2us)), 1);
  EXPECT_EQ(population_.At(At(3us)), 2);
  EXPECT_EQ(population_.At(At(20us)), 1);
  EXPECT_EQ(population_.SinceWith(2, At(99us), At(21us)), At(50us));
  EXPECT_EQ(population_.SinceWith(2, At(99us), At(60us)), At(60us));
  EXPECT_EQ(population_.SinceWith(2, At(49us), At(21us)), kNever);
  EXPECT_EQ(population_.SinceWith(2, At(19us), At(0us)), At(3us));
}

// Somebody waited at 5 us, when the slice was over: it ran for 6.
TEST_F(StintsTest, WithOthersWaitingTheTimeItRanCounts) {
  const StintFigures figures = Judge(0us, 6us);
  EXPECT_EQ(figures.ran.count(), 1);
  EXPECT_NEAR(figures.ran.Quantile(0.5), 6000, 24);
  EXPECT_EQ(figures.asked.count(), 0);
}

// From 20 us it is alone, at 50 us another comes: 1.5 us, not a slice of 31.5.
TEST_F(StintsTest, AloneTheTimeSinceAnotherCameCounts) {
  const StintFigures figures = Judge(20us, 51'500ns);
  EXPECT_EQ(figures.ran.count(), 0);
  EXPECT_NEAR(figures.asked.Quantile(0.5), 1500, 6);
}

// Who waited at 5 us was another core's from 20 us on.
TEST_F(StintsTest, WhoCameAndWentDoesNotCount) {
  const StintFigures figures = Judge(0us, 51us);
  EXPECT_EQ(figures.ran.count(), 0);
  EXPECT_NEAR(figures.asked.Quantile(0.5), 1000, 4);
}

TEST_F(StintsTest, ATooEarlyPreemptionCounts) {
  EXPECT_NEAR(Judge(0us, 4us).ran.Quantile(0.5), 4000, 16);
}

// With two cores nobody waits: two requests, each has one.
TEST_F(StintsTest, NobodyWaitsWhileThereIsACoreForEach) {
  const StintFigures figures = Judge(0us, 6us, 2);
  EXPECT_EQ(figures.ran.count() + figures.asked.count(), 0);
}

TEST_F(StintsTest, LeavesOutWhatItIsTold) {
  const Preempted one{.begun = At(0us), .stopped = At(6us), .ran = 5us};
  StintFigures figures;
  AddStints(
      {&one, 1}, population_, 1, 5us,
      [](Instant from, Instant to) {
        EXPECT_EQ(from, At(0us));
        EXPECT_EQ(to, At(6us));
        return true;
      },
      figures);
  EXPECT_EQ(figures.ran.count(), 0);
}

}  // namespace
}  // namespace yamanote::bench
