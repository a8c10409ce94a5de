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

// Of cores that came or went within the interval the more count, so that nobody seems
// idler than he is.
TEST(UtilizationRangeTest, CoresThatComeOrGoCountForTheWholeInterval) {
  for (const bool come : {true, false}) {
    ShownApp app("utilization-range", come ? 2 : 4);
    app.Decide();
    for (CoreId core = 0; core < 4; ++core) {
      app.cores[core].held = core < (come ? 4 : 2);
      app.cores[core].idle += 250ns;
    }
    // 1 us of 20 is 5%; of 10 it would be 10.
    EXPECT_EQ(app.Decide(), Wish::kMore);
  }
}

// One core of two had work before and has been idle ever since: what it shows is more
// than fits in the interval, and in a number if all cores show it.
TEST(UtilizationRangeTest, WhatIsSeenForTheFirstTimeIsAnIntervalAtMost) {
  ShownApp app("utilization-range", 4);
  for (CoreSample& core : app.cores) core.idle = Duration::max();
  EXPECT_EQ(app.Decide(), Wish::kFewer);
  EXPECT_EQ(app.Decide(), Wish::kMore) << "nothing since";
}

// Not shown, it has not been idle; nor has it when it is shown again.
TEST(UtilizationRangeTest, CoresThatAreNotShownDoNotCount) {
  ShownApp app("utilization-range", 2);
  app.cores[2].idle = app.cores[3].idle = 1ms;
  app.Decide();
  const auto hidden = std::vector(app.cores.begin() + 2, app.cores.end());
  app.cores.resize(2);
  EXPECT_EQ(app.Decide(), Wish::kMore);
  app.cores.insert(app.cores.end(), hidden.begin(), hidden.end());
  EXPECT_EQ(app.Decide(), Wish::kMore);
}

}  // namespace
}  // namespace yamanote
