// statistics_test.cc - batches, intervals, and what refusals do to quantiles.

#include "sim/statistics.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cmath>

#include "base/random.h"

namespace yamanote::sim {
namespace {

using namespace std::chrono_literals;

void Record(Statistics& statistics, Duration sojourn, Duration service,
            ClassId request_class = 0) {
  statistics.Finished({.service = service, .request_class = request_class},
                      Instant(sojourn));
}

// The table of any textbook.
TEST(StatisticsTest, StudentsQuantiles) {
  EXPECT_NEAR(StudentT95(1), 12.706, 0.001);
  EXPECT_NEAR(StudentT95(2), 4.303, 0.001);
  EXPECT_NEAR(StudentT95(3), 3.182, 0.002);
  EXPECT_NEAR(StudentT95(4), 2.776, 0.001);
  EXPECT_NEAR(StudentT95(9), 2.262, 0.001);
  EXPECT_NEAR(StudentT95(19), 2.093, 0.001);
  EXPECT_NEAR(StudentT95(99), 1.984, 0.001);
}

TEST(StatisticsTest, TheWarmUpDoesNotCount) {
  Statistics statistics({.requests = 30, .warmup = 10, .batches = 2});
  for (int i = 0; i < 10; ++i) Record(statistics, 1ms, 1us);
  for (int i = 0; i < 20; ++i) Record(statistics, 10us, 5us);
  statistics.Close();

  EXPECT_EQ(statistics.Latency(0).samples, 20U);
  EXPECT_NEAR(statistics.Latency(0).max, 10, 1e-9);
  EXPECT_NEAR(statistics.Slowdown(0).p99.value, 2, 0.01);
}

// Two batches whose means are 10 and 20 us: 15 +- 12.706 * 5.
TEST(StatisticsTest, IntervalsComeFromTheSpreadOfBatches) {
  Statistics statistics({.requests = 20, .warmup = 0, .batches = 2});
  for (int i = 0; i < 10; ++i) Record(statistics, 10us, 1us);
  for (int i = 0; i < 10; ++i) Record(statistics, 20us, 1us);
  statistics.Close();

  const Estimate mean = statistics.Latency(0).mean;
  EXPECT_NEAR(mean.value, 15, 0.01);
  EXPECT_NEAR(mean.low, 15 - 12.706 * 5, 0.5);
  EXPECT_NEAR(mean.high, 15 + 12.706 * 5, 0.5);
}

// Of independent normal values 95% of the intervals hold the mean: of 400, 380 +- 4.4.
TEST(StatisticsTest, IntervalsHoldWhatTheySay) {
  base::Random random(1);
  int held = 0;
  for (int run = 0; run < 400; ++run) {
    Statistics statistics({.requests = 2000, .warmup = 0});
    for (int i = 0; i < 2000; ++i) {
      Record(statistics,
             Duration(static_cast<int64_t>(100'000 + 10'000 * random.Normal())),
             1us);
    }
    statistics.Close();
    const Estimate mean = statistics.Latency(0).mean;
    if (mean.low <= 100 && 100 <= mean.high) ++held;
  }
  EXPECT_GE(held, 367);
  EXPECT_LE(held, 393);
}

TEST(StatisticsTest, ClassesAreApartAndTogether) {
  Statistics statistics(
      {.requests = 4, .warmup = 0, .batches = 1, .classes = 2});
  Record(statistics, 1us, 1us, 0);
  Record(statistics, 1us, 1us, 0);
  Record(statistics, 100us, 10us, 1);
  Record(statistics, 100us, 10us, 7);  // Beyond: counts as the last.
  statistics.Close();

  EXPECT_EQ(statistics.Latency(0).samples, 2U);
  EXPECT_EQ(statistics.Latency(1).samples, 2U);
  EXPECT_EQ(statistics.Latency(Statistics::kAll).samples, 4U);
  EXPECT_NEAR(statistics.Latency(Statistics::kAll).mean.value, 50.5, 0.3);
}

// Whoever refuses cannot have a good tail by it.
TEST(StatisticsTest, RefusedRequestsAreInfinite) {
  Statistics statistics({.requests = 100, .warmup = 0, .batches = 2});
  for (int i = 0; i < 100; ++i) {
    if (i % 10 == 0) {
      statistics.Refused({.service = 1us});
    } else {
      Record(statistics, 1us, 1us);
    }
  }
  statistics.Close();

  EXPECT_EQ(statistics.refused(), 10U);
  EXPECT_NEAR(statistics.Latency(0).p50.value, 1, 0.01);
  EXPECT_TRUE(std::isinf(statistics.Latency(0).p99.value));
}

TEST(StatisticsTest, RunsOfOtherSeedsAddBatches) {
  Statistics one({.requests = 20, .warmup = 0, .batches = 2});
  Statistics other({.requests = 20, .warmup = 0, .batches = 2});
  for (int i = 0; i < 20; ++i) {
    Record(one, 10us, 1us);
    Record(other, 20us, 1us);
  }
  one.Close();
  other.Close();
  one.Merge(other);

  EXPECT_EQ(one.Latency(0).samples, 40U);
  EXPECT_NEAR(one.Latency(0).mean.value, 15, 0.01);
  EXPECT_GT(one.Latency(0).mean.high, 15);
}

}  // namespace
}  // namespace yamanote::sim
