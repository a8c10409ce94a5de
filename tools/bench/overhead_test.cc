// overhead_test.cc - what a table of times says about probes.

#include "tools/bench/overhead.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace yamanote::bench {
namespace {

using testing::DoubleNear;
using testing::ElementsAre;

TEST(OverheadTest, ARoundIsTheGeometricMeanOverItsLayouts) {
  // Round 0: twice and half the time, so no overhead. Round 1: 21% and none.
  const std::vector<LayoutTimes> layouts = {
      {.layout = 0, .plain_ns = {100, 100}, .probes_ns = {200, 121}},
      {.layout = 16, .plain_ns = {100, 100}, .probes_ns = {50, 100}}};
  EXPECT_THAT(RoundOverheads(layouts),
              ElementsAre(DoubleNear(0, 1e-12), DoubleNear(0.1, 1e-12)));
}

TEST(OverheadTest, KernelsAreJoinedRoundByRound) {
  EXPECT_THAT(MeanOverheads({{1.0, 0.21}, {-0.5, 0.0}}),
              ElementsAre(DoubleNear(0, 1e-12), DoubleNear(0.1, 1e-12)));
}

TEST(OverheadTest, QuartilesLieBetweenNeighboursInProportion) {
  const Spread four = Quartiles({4, 1, 3, 2});
  EXPECT_DOUBLE_EQ(four.p25, 1.75);
  EXPECT_DOUBLE_EQ(four.median, 2.5);
  EXPECT_DOUBLE_EQ(four.p75, 3.25);
  const Spread one = Quartiles({7});
  EXPECT_DOUBLE_EQ(one.p25, 7);
  EXPECT_DOUBLE_EQ(one.median, 7);
  EXPECT_DOUBLE_EQ(one.p75, 7);
}

}  // namespace
}  // namespace yamanote::bench
