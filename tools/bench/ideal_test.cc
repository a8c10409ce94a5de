// ideal_test.cc - the reference that schedulers are scored against.

#include "tools/bench/ideal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

namespace yamanote::bench {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;

Arrival At(Duration at, uint32_t service_ns) {
  return {.at = at, .service_ns = service_ns};
}

TEST(IdealTest, WithoutSlicesRequestsRunInTheOrderTheyCame) {
  const std::vector<Arrival> arrivals = {At(0us, 100'000), At(1us, 1'000)};
  EXPECT_THAT(IdealSojourns(arrivals, 1, kNoPreemption),
              ElementsAre(100'000, 100'000));
}

// The short one waits for what is left of the first slice: 4 us.
TEST(IdealTest, ASliceEndsWhenItIsOverAndAnotherWaits) {
  const std::vector<Arrival> arrivals = {At(0us, 100'000), At(1us, 1'000)};
  EXPECT_THAT(IdealSojourns(arrivals, 1, 5us), ElementsAre(101'000, 5'000));
}

// Nobody waited when the first slice was over, so it is over at once now.
TEST(IdealTest, AnOverdueRequestGivesWayToAnArrivalAtOnce) {
  const std::vector<Arrival> arrivals = {At(0us, 100'000), At(50us, 1'000)};
  EXPECT_THAT(IdealSojourns(arrivals, 1, 5us), ElementsAre(101'000, 1'000));
}

// 10 us each in turns of 5: a b a b.
TEST(IdealTest, EqualRequestsTakeTurns) {
  const std::vector<Arrival> arrivals = {At(0us, 10'000), At(0us, 10'000)};
  EXPECT_THAT(IdealSojourns(arrivals, 1, 5us), ElementsAre(15'000, 20'000));
}

TEST(IdealTest, AFreeCoreTakesAnArrivalAtOnce) {
  const std::vector<Arrival> arrivals = {At(0us, 100'000), At(1us, 1'000)};
  EXPECT_THAT(IdealSojourns(arrivals, 2, 5us), ElementsAre(100'000, 1'000));
}

// 10 us of work from 0; the core is away from 4 to 7.
TEST(IdealTest, AnOutageDelaysWhoIsOnTheCoreAndWhoWaits) {
  const std::vector<Arrival> arrivals = {At(0us, 10'000), At(1us, 1'000)};
  EXPECT_THAT(IdealSojourns(arrivals, 1, kNoPreemption, {{{4'000, 7'000}}}),
              ElementsAre(13'000, 13'000));
  // The slice of 5 us stands still, too: over at 8.
  EXPECT_THAT(IdealSojourns(arrivals, 1, 5us, {{{4'000, 7'000}}}),
              ElementsAre(14'000, 8'000));
}

// It comes during an outage and waits for its end, or takes the other core.
TEST(IdealTest, ACoreThatIsAwayTakesNobody) {
  const std::vector<Arrival> arrivals = {At(2us, 1'000)};
  EXPECT_THAT(IdealSojourns(arrivals, 1, 5us, {{{1'000, 5'000}}}),
              ElementsAre(4'000));
  EXPECT_THAT(IdealSojourns(arrivals, 2, 5us, {{{1'000, 5'000}}, {}}),
              ElementsAre(1'000));
}

// M/M/1 first come, first served: the mean sojourn is S / (1 - load).
TEST(IdealTest, AgreesWithQueueingTheory) {
  const auto workload =
      load::Workload::Parse(load::Application::kSpin, "exp:10us").value();
  const auto arrivals = DrawArrivals(workload, 50'000, 20s, 1).value();
  for (const Duration slice : {kNoPreemption, Duration(1us)}) {
    const auto sojourns = IdealSojourns(arrivals, 1, slice);
    const double mean = std::accumulate(sojourns.begin(), sojourns.end(), 0.0) /
                        static_cast<double>(sojourns.size());
    // Processor sharing has the same mean. A million samples, correlated.
    EXPECT_NEAR(mean, 20'000, 600);
  }
}

TEST(ArrivalsTest, TooManyOrNoneAreRefused) {
  const auto workload =
      load::Workload::Parse(load::Application::kSpin, "fixed:10us").value();
  EXPECT_FALSE(DrawArrivals(workload, 1e8, 1s, 1));
  EXPECT_FALSE(DrawArrivals(workload, 1, 1ms, 1));
  EXPECT_TRUE(DrawArrivals(workload, 1000, 1s, 1));
}

}  // namespace
}  // namespace yamanote::bench
