// utilization_range_test.cc - shares of the interval, by hand.

#include "arbiter/core_policy_test.h"

namespace yamanote {
namespace {

using namespace std::chrono_literals;

// Two cores for 5 us: 10 us, of which 0.5 us are 5%.
TEST(UtilizationRangeTest, TheShareThatRanTasksDecides) {
  ShownApp app("utilization-range", 2);
  app.Decide();
  app.cores[0].idle = 500ns;
  EXPECT_EQ(app.Decide(), Wish::kMore) << "95%";
  app.cores[0].idle += 501ns;
  EXPECT_EQ(app.Decide(), Wish::kSame) << "94.99%";
  app.cores[1].idle += 2'500ns;
  EXPECT_EQ(app.Decide(), Wish::kSame) << "75%";
  app.cores[1].idle += 2'501ns;
  EXPECT_EQ(app.Decide(), Wish::kFewer) << "74.99%";
}

TEST(UtilizationRangeTest, WhoHasNoCoreGetsOneAtOnce) {
  ShownApp app("utilization-range", 0);
  EXPECT_EQ(app.Decide(), Wish::kSame);
  app.cores[1].enqueued = 1;
  EXPECT_EQ(app.Decide(), Wish::kMore);
}

}  // namespace
}  // namespace yamanote
