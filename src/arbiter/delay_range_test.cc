// delay_range_test.cc - below, within and above the two limits.

#include "arbiter/core_policy_test.h"

namespace yamanote {
namespace {

using namespace std::chrono_literals;

// The limits are 1 and 4 us, the mean is over the two cores held.
TEST(DelayRangeTest, TheMeanOverTheCoresHeldDecides) {
  ShownApp app("delay-range", 2);
  app.cores[0].oldest = 2us;
  EXPECT_EQ(app.Decide(), Wish::kFewer);
  app.cores[0].oldest = 2001ns;
  EXPECT_EQ(app.Decide(), Wish::kFewer) << "1000.5 ns, rounded down";
  app.cores[0].oldest = 3us;
  EXPECT_EQ(app.Decide(), Wish::kSame);
  app.cores[1].oldest = 4'999ns;
  EXPECT_EQ(app.Decide(), Wish::kSame);
  app.cores[1].oldest = 5us;
  EXPECT_EQ(app.Decide(), Wish::kMore);
}

TEST(DelayRangeTest, WhoHasNoCoreGetsOneAtOnce) {
  ShownApp app("delay-range", 0);
  EXPECT_EQ(app.Decide(), Wish::kSame);
  app.cores[1].enqueued = 1;
  EXPECT_EQ(app.Decide(), Wish::kMore);
}

}  // namespace
}  // namespace yamanote
