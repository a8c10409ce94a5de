// combine_test.cc - sums and medians over runs, in virtual time.

#include "tools/load/combine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

namespace yamanote::load {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr int64_t kMicrosecond = 1000;
constexpr int64_t kSecond = 1'000'000'000;

struct RunOf {
  int64_t latency_us = 20;
  unsigned lost = 0;
  unsigned late = 0;  // Requests that were sent 1 ms late.
  bool stopped = false;
};

// 1,000 requests in a second, alike but for what `of` says.
Run MakeRun(uint64_t seed, const RunOf& of) {
  static const Workload workload =
      *Workload::Parse(Application::kSpin, "fixed:10us");
  ThreadLog log;
  log.stopped = of.stopped;
  for (unsigned i = 0; i < 1000; ++i) {
    Sample sample;
    sample.intended_ns = i * 1000 * kMicrosecond;
    sample.sent_ns =
        sample.intended_ns + (i < of.late ? 1000 * kMicrosecond : 0);
    sample.received_ns = sample.sent_ns + of.latency_us * kMicrosecond;
    sample.service_ns = 10'000;
    sample.status = i < 1000 - of.lost ? Status::kAnswered : Status::kSent;
    log.samples.push_back(sample);
  }
  Account account(workload, {kNoFigure});
  account.AddRun(std::span(&log, 1), {0, kSecond}, 20);
  RunResult result = account.ToRun(seed);
  return {std::move(account), std::move(result)};
}

std::vector<Run> MakeRuns(std::initializer_list<RunOf> all) {
  std::vector<Run> runs;
  for (const RunOf& of : all) runs.push_back(MakeRun(runs.size() + 1, of));
  return runs;
}

PointResult Combine(const std::vector<Run>& runs, Combining combining) {
  Combination combination(1000, combining);
  for (const Run& run : runs) combination.Add(run);
  return combination.ToPoint();
}

TEST(CombineTest, AStallOfOneRunIsInTheSumButNotInTheMedian) {
  const auto runs =
      MakeRuns({{.latency_us = 20}, {.latency_us = 5000}, {.latency_us = 30}});
  const PointResult sum = Combine(runs, Combining::kSum);
  EXPECT_NEAR(sum.latency_us.p99, 5000, 50);
  const PointResult median = Combine(runs, Combining::kMedian);
  EXPECT_NEAR(median.latency_us.p99, 30, 0.3);
  EXPECT_NEAR(median.slowdown.p50, 3, 0.03);
  ASSERT_EQ(median.classes.size(), 1u);
  EXPECT_NEAR(median.classes[0].latency_us.p99, 30, 0.3);
  EXPECT_NEAR(median.classes[0].slowdown_undisturbed.p99, 3, 0.03);
  for (const PointResult* const point : {&sum, &median}) {
    EXPECT_EQ(point->latency_us.samples, 3000u);
    EXPECT_EQ(point->answered, 3000u);
    EXPECT_THAT(point->seeds, ElementsAre(1, 2, 3));
    EXPECT_EQ(point->runs.size(), 3u);
    EXPECT_TRUE(point->valid);
  }
}

TEST(CombineTest, OfTwoTheHigherIsTheMedian) {
  const auto runs = MakeRuns({{.latency_us = 20}, {.latency_us = 40}});
  EXPECT_NEAR(Combine(runs, Combining::kMedian).latency_us.p50, 40, 0.4);
}

TEST(CombineTest, NoMedianHidesALoss) {
  const auto runs = MakeRuns({{}, {.lost = 50}, {}});
  const PointResult point = Combine(runs, Combining::kMedian);
  EXPECT_EQ(point.lost, 50u);
  EXPECT_EQ(point.classes[0].lost, 50u);
  EXPECT_NEAR(point.latency_us.p99, 20, 0.2);
  EXPECT_TRUE(std::isinf(point.runs[1].latency_us.p99));
  const auto most = MakeRuns({{}, {.lost = 50}, {.lost = 50}});
  EXPECT_TRUE(std::isinf(Combine(most, Combining::kMedian).latency_us.p99));
}

// Such a run is invalid, but it is the server's.
TEST(CombineTest, AServerThatFailedInOneRunFailsThePoint) {
  const auto runs = MakeRuns({{}, {.lost = 1000}, {}});
  const PointResult point = Combine(runs, Combining::kMedian);
  EXPECT_FALSE(point.valid);
  EXPECT_FALSE(point.valid_undisturbed);
  EXPECT_THAT(point.why_invalid, HasSubstr("no request was answered"));
  const auto most = MakeRuns({{}, {.lost = 1000}, {.lost = 1000}});
  EXPECT_TRUE(std::isinf(Combine(most, Combining::kMedian).latency_us.p50));
}

TEST(CombineTest, LateRunsDoNotCountAndHalfMustBeValid) {
  const auto runs = MakeRuns(
      {{.latency_us = 20}, {.latency_us = 5, .late = 9}, {.latency_us = 20}});
  const PointResult good = Combine(runs, Combining::kMedian);
  EXPECT_TRUE(good.valid);
  EXPECT_FALSE(good.runs[1].valid);
  EXPECT_EQ(good.latency_us.samples, 3000u);
  EXPECT_NEAR(good.latency_us.p99, 20, 0.2);
  const auto bad = MakeRuns({{}, {.late = 9}, {.late = 9}});
  const PointResult point = Combine(bad, Combining::kMedian);
  EXPECT_FALSE(point.valid);
  EXPECT_THAT(point.why_invalid,
              HasSubstr("2 of 3 runs are invalid, one because"));
}

// In half of the runs the machine stalled: with one more or less the median would
// be of the other kind.
TEST(CombineTest, APointIsUnsettledIfItsRunsAreOfTwoKinds) {
  const auto two_kinds =
      MakeRuns({{}, {.latency_us = 100}, {}, {.latency_us = 90}});
  const PointResult point = Combine(two_kinds, Combining::kMedian);
  EXPECT_TRUE(point.valid);
  ASSERT_TRUE(point.unsettled);
  EXPECT_THAT(*point.unsettled, HasSubstr("in the best quarter"));
  EXPECT_THAT(*point.unsettled, HasSubstr("in half"));
  EXPECT_FALSE(Combine(two_kinds, Combining::kSum).unsettled);
}

TEST(CombineTest, APointWithFewStallsOrSlowGrowthIsSettled) {
  for (const auto& runs :
       {MakeRuns({{}, {}, {.latency_us = 100}, {}, {}}),
        MakeRuns(
            {{}, {.latency_us = 30}, {.latency_us = 40}, {.latency_us = 60}}),
        // Of fewer than four none can say.
        MakeRuns({{}, {.latency_us = 100}, {.latency_us = 100}})}) {
    EXPECT_EQ(Combine(runs, Combining::kMedian).unsettled, "");
  }
}

TEST(CombineTest, AnInterruptedPointIsInvalid) {
  const auto runs = MakeRuns({{}, {}, {.stopped = true}});
  for (const Combining combining : {Combining::kSum, Combining::kMedian}) {
    const PointResult point = Combine(runs, combining);
    EXPECT_FALSE(point.valid);
    EXPECT_THAT(point.why_invalid, HasSubstr("interrupted"));
  }
}

}  // namespace
}  // namespace yamanote::load
