// sweep_test.cc - variations of a scenario, and the ranking of candidates.

#include "tools/sim/sweep.h"

#include <gtest/gtest.h>

#include "tools/config/options.h"
#include "tools/sim/compare.h"
#include "tools/sim/test_settings.h"

namespace yamanote::simulation {
namespace {

using tools::Setting;

Variation Vary(const std::string& text) {
  Result<Variation> variation = ParseVariation(text);
  EXPECT_TRUE(variation) << variation.error().message;
  return *variation;
}

TEST(VariationTest, ReadsListsAndRanges) {
  EXPECT_EQ(Vary("preset=ix,zygos").values,
            (std::vector<std::string>{"ix", "zygos"}));
  EXPECT_EQ(Vary("load=0.1..0.3/0.1").values,
            (std::vector<std::string>{"0.1", "0.2", "0.3"}));
  EXPECT_EQ(Vary("cores=4..12/4").values,
            (std::vector<std::string>{"4", "8", "12"}));
  EXPECT_EQ(Vary("--slice=5us").values, (std::vector<std::string>{"5us"}));
  EXPECT_EQ(Vary("service=bimodal:50%:1us,50%:2us|exp:1us").values,
            (std::vector<std::string>{"bimodal:50%:1us,50%:2us", "exp:1us"}));
  EXPECT_EQ(Vary("cost-hop=0ns,1us").option->Name(), "costs.hop");
}

TEST(VariationTest, SaysWhatIsWrong) {
  const auto message = [](std::string_view text) {
    const Result<Variation> variation = ParseVariation(text);
    return variation ? "" : variation.error().message;
  };
  EXPECT_NE(message("load").find("KEY=VALUE"), std::string::npos);
  EXPECT_NE(message("laod=1").find("did you mean load"), std::string::npos);
  EXPECT_NE(message("listen=1").find("no key"), std::string::npos);
  EXPECT_NE(message("load=0.1..0.9").find("/STEP"), std::string::npos);
  EXPECT_NE(message("load=0.9..0.1/0.1").find("nowhere"), std::string::npos);
  EXPECT_NE(message("load=0..1/0").find("nowhere"), std::string::npos);
  EXPECT_NE(message("load=0..1/0.00001").find("at most"), std::string::npos);
  EXPECT_NE(message("load=0.1,,0.2").find("empty"), std::string::npos);
}

TEST(SweepTest, TakesAllCombinations) {
  const auto points =
      MakeSweep(Settings({{"sim.service", "exp:10us"}, {"sim.requests", "1k"}}),
                {Vary("preset=ix,zygos"), Vary("load=0.5,0.9,1.2")}, false);
  ASSERT_TRUE(points) << points.error().message;
  ASSERT_EQ(points->size(), 6U);
  EXPECT_EQ((*points)[1].values, (std::vector<std::string>{"ix", "0.9"}));
  EXPECT_EQ((*points)[1].scenario.scheduling.preset, "ix");
  EXPECT_TRUE((*points)[1].unstable.empty());
  EXPECT_FALSE((*points)[2].unstable.empty());
}

TEST(SweepTest, NamesTheCombinationThatIsImpossible) {
  const auto points = MakeSweep(Settings({{"sim.service", "exp:10us"}}),
                                {Vary("service=exp:10us|gauss:1us")}, false);
  ASSERT_FALSE(points);
  EXPECT_NE(points.error().message.find("at service gauss:1us"),
            std::string::npos);
}

// Stealing does not leave cores idle beside work, so it stands more load.
TEST(CompareTest, RanksByTheHighestLoadWhateverRunsAtATime) {
  const auto points = MakeSweep(Settings({{"sim.service", "exp:10us"},
                                          {"sim.cores", "8"},
                                          {"sim.requests", "20k"}}),
                                {Vary("preset=ix,zygos")}, true);
  ASSERT_TRUE(points) << points.error().message;
  std::vector<Candidate> candidates;
  for (const SweepPoint& point : *points)
    candidates.push_back({point.values[0], point.scenario});
  const auto objective = load::Objective::Parse(
      "p99-latency<=100us", candidates[0].scenario.workload);
  ASSERT_TRUE(objective) << objective.error().message;
  const auto rank = [&](unsigned jobs) {
    return Compare(candidates, *objective, jobs, [] { return false; });
  };
  const std::vector<Ranked> ranked = rank(1);
  ASSERT_EQ(ranked.size(), 2U);
  EXPECT_EQ(ranked[0].label, "zygos");
  EXPECT_GT(ranked[0].best_load, 0.8);
  EXPECT_LT(ranked[1].best_load, 0.75);
  EXPECT_NE(ranked[1].why.find("idle"), std::string::npos) << ranked[1].why;
  const std::vector<Ranked> again = rank(2);
  EXPECT_EQ(again[0].best_rps, ranked[0].best_rps);
  EXPECT_EQ(again[1].why, ranked[1].why);
}

}  // namespace
}  // namespace yamanote::simulation
