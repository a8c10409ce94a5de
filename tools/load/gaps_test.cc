// gaps_test.cc - gaps and the threshold above a machine's hum, in virtual time.

#include "tools/load/gaps.h"

#include <gtest/gtest.h>

namespace yamanote::load {
namespace {

using namespace std::chrono_literals;

TEST(GapLogTest, FindsOverlapsOfDisjointGaps) {
  GapLog gaps(10);
  gaps.Tick(0);
  gaps.Tick(10);  // At the threshold: none.
  gaps.Tick(30);  // 10..30.
  gaps.Tick(35);
  gaps.Pause();
  gaps.Tick(100);  // Waited on purpose.
  gaps.Tick(120);  // 100..120.
  ASSERT_EQ(gaps.gaps().size(), 2u);
  EXPECT_FALSE(gaps.Overlaps(0, 10));
  EXPECT_TRUE(gaps.Overlaps(0, 11));
  EXPECT_TRUE(gaps.Overlaps(15, 16));
  EXPECT_FALSE(gaps.Overlaps(30, 100));
  EXPECT_TRUE(gaps.Overlaps(31, 200));
  EXPECT_FALSE(gaps.Overlaps(120, 200));
}

// `count` gaps of `length_us` each, a millisecond apart.
std::vector<Gap> Hum(int count, int64_t length_us) {
  std::vector<Gap> gaps;
  for (int64_t i = 0; i < count; ++i)
    gaps.push_back({i * 1'000'000, i * 1'000'000 + length_us * 1000});
  return gaps;
}

TEST(GapThresholdTest, OfAQuietMachineItIsTheLeast) {
  EXPECT_EQ(ThresholdAbove({}, 200ms), 20us);
  EXPECT_EQ(ThresholdAbove(Hum(10, 900), 200ms), 20us);  // 50 a second.
}

TEST(GapThresholdTest, ItIsAboveWhatComesMoreThan50TimesASecond) {
  EXPECT_EQ(ThresholdAbove(Hum(11, 43), 200ms), 50us);
  EXPECT_EQ(ThresholdAbove(Hum(200, 43), 200ms), 50us);
  EXPECT_EQ(ThresholdAbove(Hum(11, 5000), 200ms), 1ms);  // At most.
  // Ten rare ones do not count, whatever their length.
  std::vector<Gap> gaps = Hum(200, 43);
  for (int i = 0; i < 10; ++i) gaps[static_cast<size_t>(i)].end_ns += 3'000'000;
  EXPECT_EQ(ThresholdAbove(gaps, 200ms), 50us);
}

TEST(GapThresholdTest, MeasuredItIsWithinItsLimits) {
  const Duration threshold = MeasureGapThreshold(-1);
  EXPECT_GE(threshold, kLeastGapThreshold);
  EXPECT_LE(threshold, kMostGapThreshold);
}

}  // namespace
}  // namespace yamanote::load
