// search_test.cc - the bisection over a server whose tail is a formula.

#include "tools/load/search.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tools/load/table.h"

namespace yamanote::load {
namespace {

using testing::HasSubstr;

Workload Mix() { return *Workload::Parse(Application::kKv, "get:90%,set:10%"); }

// M/M/1 with a mean of 10 us: the sojourn's p99 slowdown is 4.6 / (1 - rho), and
// "get" has half of it.
PointResult MM1(double rps) {
  PointResult point;
  point.offered_rps = rps;
  const double rho = rps * 10e-6;
  point.slowdown.p99 = rho < 1 ? 4.605 / (1 - rho) : INFINITY;
  point.latency_us.p99 = point.slowdown.p99 * 10;
  point.classes.resize(2);
  point.classes[0].name = "get";
  point.classes[0].slowdown.p99 = point.slowdown.p99 / 2;
  point.classes[1].name = "set";
  return point;
}

SearchOutcome Find(const char* objective, double low, double high,
                   const MeasureAt& measure) {
  SearchOptions options;
  options.objective = *Objective::Parse(objective, Mix());
  options.low_rps = low;
  options.high_rps = high;
  options.precision = 0.01;
  return *Search(options, measure, nullptr, [] { return false; });
}

TEST(SearchTest, FindsTheHighestLoad) {
  // 4.605 / (1 - rho) <= 10: rho <= 0.5395, 53.95k rps.
  const SearchOutcome out = Find("p99-slowdown<=10", 1000, 200'000, MM1);
  EXPECT_NEAR(out.search.best_rps, 53'950, 600);
  EXPECT_LE(out.search.best_rps, 53'951);  // Was itself measured to meet it.
  EXPECT_EQ(out.search.steps.size(), out.points.size());
  EXPECT_LE(out.points.front().offered_rps, out.points.back().offered_rps);
  EXPECT_THAT(FormatStep(out.search.steps.front()), HasSubstr("meets it"));
}

TEST(SearchTest, LimitsAClassOrTheLatency) {
  // get: 2.3025 / (1 - rho) <= 10: rho <= 0.7697.
  EXPECT_NEAR(Find("get:p99-slowdown<=10", 1000, 200'000, MM1).search.best_rps,
              76'970, 800);
  EXPECT_NEAR(Find("p99-latency<=100us", 1000, 200'000, MM1).search.best_rps,
              53'950, 600);
  EXPECT_NEAR(
      Find("get:p99-slowdown<=10,p99-latency<=100us", 1000, 200'000, MM1)
          .search.best_rps,
      53'950, 600);
}

TEST(SearchTest, TheBoundsAreAnswersToo) {
  EXPECT_EQ(Find("p99-slowdown<=10", 60'000, 90'000, MM1).search.best_rps, 0);
  EXPECT_EQ(Find("p99-slowdown<=10", 60'000, 90'000, MM1).search.steps.size(),
            1u);
  EXPECT_EQ(Find("p99-slowdown<=10", 10'000, 50'000, MM1).search.best_rps,
            50'000);
}

// What could not be measured does not meet an objective; each is tried 3 times.
TEST(SearchTest, InvalidPointsAreMeasuredAgainAndMissIt) {
  int calls = 0;
  const auto measure = [&](double rps) {
    ++calls;
    PointResult point = MM1(rps);
    point.valid = false;
    point.why_invalid = "the generator was late";
    return Result<PointResult>(point);
  };
  const SearchOutcome out = Find("p99-slowdown<=10", 1000, 2000, measure);
  EXPECT_EQ(out.search.best_rps, 0);
  EXPECT_EQ(calls, 3);
  EXPECT_EQ(out.search.steps.front().why, "the generator was late");
}

TEST(SearchTest, MissingFiguresMissTheObjective) {
  EXPECT_EQ(Find("set:p99-slowdown<=10", 1000, 2000, MM1).search.best_rps, 0);
}

TEST(SearchTest, ErrorsEndTheSearch) {
  SearchOptions options;
  options.objective = *Objective::Parse("p99-slowdown<=10", Mix());
  options.low_rps = 1;
  options.high_rps = 2;
  const auto fail = [](double) -> Result<PointResult> {
    return MakeError(ErrorCode::kUnavailable, "gone");
  };
  EXPECT_FALSE(Search(options, fail, nullptr, [] { return false; }));
}

TEST(ObjectiveTest, ErrorsShowTheForm) {
  for (const char* bad :
       {"", "p99<=10", "p98-slowdown<=10", "put:p99-slowdown<=10",
        "p99-slowdown<10", "p99-speed<=10", "p99-slowdown<=0.5",
        "p99-latency<=10", "<=-", "p99-slowdown<=10,"}) {
    const auto objective = Objective::Parse(bad, Mix());
    ASSERT_FALSE(objective) << bad;
    EXPECT_THAT(objective.error().message, HasSubstr("--objective")) << bad;
  }
}

TEST(TableTest, ShowsWhatMustNotBeOverlooked) {
  LoadResult result;
  result.points.push_back(MM1(20'000));
  PointResult& point = result.points.front();
  point.valid = false;
  point.why_invalid = "late";
  point.lost = 7;
  point.latency_us.p999 = INFINITY;
  point.gaps.count = 3;
  const std::string text = FormatTable(result);
  EXPECT_THAT(text, HasSubstr("INVALID: late"));
  EXPECT_THAT(text, HasSubstr("7 requests lost"));
  EXPECT_THAT(text, HasSubstr("inf"));
  EXPECT_THAT(text, HasSubstr("off its core 3 times"));
}

}  // namespace
}  // namespace yamanote::load
