// histogram_test.cc - the error bound, merging and infinite observations.

#include "base/histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/random.h"

namespace yamanote::base {
namespace {

// Property: whatever the values, each quantile is within 1% (in fact 0.4%) of
// the value at that rank among the sorted observations.
TEST(HistogramTest, QuantilesStayWithinTheErrorBound) {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    Random random(seed);
    Histogram histogram;
    std::vector<uint64_t> values(1 + random.Below(3000));
    for (uint64_t& value : values) {
      value = random() >> (64 - 1 - random.Below(Histogram::kMaxBits));
      histogram.Record(value);
    }
    std::sort(values.begin(), values.end());
    for (const double q : {0.0, 0.1, 0.5, 0.9, 0.99, 0.999, 1.0}) {
      const double rank =
          std::ceil(q * static_cast<double>(values.size()) - 1e-9);
      const auto exact = static_cast<double>(
          values[static_cast<size_t>(std::max(1.0, rank)) - 1]);
      EXPECT_NEAR(histogram.Quantile(q), exact, 0.004 * exact + 1e-9)
          << "seed " << seed << " q " << q;
    }
    EXPECT_EQ(histogram.Max(), values.back());
    EXPECT_EQ(histogram.Min(), values.front());
  }
}

TEST(HistogramTest, MergingEqualsRecordingInOne) {
  Random random(7);
  Histogram one, left, right;
  for (int i = 0; i < 5000; ++i) {
    const uint64_t value = random() >> (24 + random.Below(40));
    one.Record(value);
    (i % 3 == 0 ? left : right).Record(value);
  }
  one.RecordInfinite(10);
  right.RecordInfinite(10);
  left.Merge(right);
  EXPECT_EQ(left.count(), one.count());
  EXPECT_DOUBLE_EQ(left.Mean(), one.Mean());
  for (double q = 0; q <= 1; q += 0.05) {
    EXPECT_EQ(left.Quantile(q), one.Quantile(q)) << q;
  }
}

// 2 of 100 are unanswered: p98 is the last answered one, p99 is infinite.
TEST(HistogramTest, UnansweredTakeTheirPlaceInTheTail) {
  Histogram histogram;
  for (uint64_t i = 1; i <= 98; ++i) histogram.Record(i);
  histogram.RecordInfinite(2);
  EXPECT_EQ(histogram.Quantile(0.98), 98);
  EXPECT_TRUE(std::isinf(histogram.Quantile(0.99)));
  EXPECT_EQ(histogram.Max(), 98u);
}

TEST(HistogramTest, EmptyHasNoFigures) {
  const Histogram histogram;
  EXPECT_TRUE(std::isnan(histogram.Quantile(0.5)));
  EXPECT_TRUE(std::isnan(histogram.Mean()));
}

TEST(HistogramTest, ValuesBeyondTheLimitKeepTheExactMaximum) {
  Histogram histogram;
  histogram.Record(UINT64_MAX);
  EXPECT_EQ(histogram.Max(), UINT64_MAX);
  EXPECT_EQ(histogram.count(), 1u);
}

}  // namespace
}  // namespace yamanote::base
