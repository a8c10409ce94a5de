// setup_test.cc - who gets which CPUs, what arrives when, what a spread is.

#include "tools/bench/cores/setup.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace yamanote::bench {
namespace {

using namespace std::chrono_literals;

TEST(CoresSetupTest, AHalfOfTheCpusRoundedUpIsTheServices) {
  EXPECT_TRUE(Divide({3}).batch.empty());
  EXPECT_EQ(Divide({3, 5}).services, std::vector<int>({3}));
  EXPECT_EQ(Divide({3, 5}).batch, std::vector<int>({5}));
  EXPECT_EQ(Divide({1, 2, 3, 4, 5}).services, std::vector<int>({1, 2, 3}));
  EXPECT_EQ(Divide({1, 2, 3, 4, 5}).batch, std::vector<int>({4, 5}));
}

TEST(CoresSetupTest, QuartilesByRankMayBeInfinite) {
  const double inf = std::numeric_limits<double>::infinity();
  const Spread spread = Ranked({inf, 3, 1, inf, 2});
  EXPECT_EQ(spread.median, 3);
  EXPECT_EQ(spread.p25, 2);
  EXPECT_EQ(spread.p75, inf);
  EXPECT_EQ(Ranked({7}).p75, 7);
  EXPECT_EQ(Ranked({inf / inf, 7, inf / inf}).median, 7);
  EXPECT_TRUE(std::isnan(Ranked({inf / inf}).median));
  EXPECT_TRUE(std::isnan(Ranked({}).median));
}

TEST(CoresSetupTest, PhasesHaveTheirRates) {
  const auto workload = ParseService("fixed:10us");
  ASSERT_TRUE(workload);
  const RatePhase phases[] = {{.length = 20ms, .rate_rps = 50'000},
                              {.length = 30ms, .rate_rps = 5'000}};
  const std::vector<Arrival> arrivals = DrawPhases(*workload, phases, 10s, 1);
  uint64_t high = 0;
  Duration last{0};
  for (const Arrival& arrival : arrivals) {
    EXPECT_GE(arrival.at, last);
    last = arrival.at;
    if (arrival.at % 50ms < 20ms) ++high;
  }
  // 200 periods; within 5 standard deviations of Poisson's counts.
  EXPECT_NEAR(static_cast<double>(high), 200'000, 5 * std::sqrt(200'000));
  EXPECT_NEAR(static_cast<double>(arrivals.size() - high), 30'000,
              5 * std::sqrt(30'000));
}

TEST(CoresSetupTest, APhaseWithoutARateIsEmpty) {
  const auto workload = ParseService("fixed:10us");
  ASSERT_TRUE(workload);
  const RatePhase phases[] = {{.length = 1ms, .rate_rps = 0},
                              {.length = 1ms, .rate_rps = 100'000}};
  for (const Arrival& arrival : DrawPhases(*workload, phases, 1s, 3))
    EXPECT_GE(arrival.at % 2ms, 1ms);
}

TEST(CoresSetupTest, AServiceNeedsAMean) {
  const auto none = ParseService("pareto:alpha=1,min=1us");
  ASSERT_FALSE(none);
  EXPECT_NE(none.error().message.find("no mean"), std::string::npos);
}

}  // namespace
}  // namespace yamanote::bench
