// congestion_test.cc - what was there a whole interval, and what was not.

#include "arbiter/core_policy_test.h"

namespace yamanote {
namespace {

TEST(CongestionTest, ATaskThatIsSeenTwiceAsksForACore) {
  ShownApp app("congestion", 1);
  app.cores[0].enqueued = 1;
  EXPECT_EQ(app.Decide(), Wish::kSame);
  EXPECT_EQ(app.Decide(), Wish::kMore);
}

// Three came and one left: of those that were there before, none waits.
TEST(CongestionTest, AQueueThatMovesOnIsNotCongested) {
  ShownApp app("congestion", 1);
  app.cores[0].enqueued = 1;
  app.Decide();
  app.cores[0].enqueued = 4;
  app.cores[0].taken = 1;
  EXPECT_EQ(app.Decide(), Wish::kSame);
  // Of those three, one left.
  app.cores[0].taken = 2;
  EXPECT_EQ(app.Decide(), Wish::kMore);
}

TEST(CongestionTest, CountsMayWrap) {
  ShownApp app("congestion", 1);
  app.cores[0].enqueued = app.cores[0].taken = UINT32_MAX;
  app.Decide();
  app.cores[0].enqueued += 2;
  EXPECT_EQ(app.Decide(), Wish::kSame);
  app.cores[0].taken += 1;
  EXPECT_EQ(app.Decide(), Wish::kMore);
}

// What waits where a worker has just been woken, it is about to take.
TEST(CongestionTest, AFreshCoreIsLeftOut) {
  ShownApp app("congestion", 1);
  app.cores[0].enqueued = 1;
  app.Decide();
  app.cores[0].fresh = true;
  EXPECT_EQ(app.Decide(), Wish::kSame);
  app.cores[0].fresh = false;
  EXPECT_EQ(app.Decide(), Wish::kMore);
}

TEST(CongestionTest, WhoHasNoCoreGetsOneAtOnce) {
  ShownApp app("congestion", 0);
  EXPECT_EQ(app.Decide(), Wish::kSame);
  app.cores[2].enqueued = 1;
  EXPECT_EQ(app.Decide(), Wish::kMore);
}

// A line that is not shown for a while is compared with when it was last.
TEST(CongestionTest, LinesMayComeAndGo) {
  ShownApp app("congestion", 1);
  app.cores[3].enqueued = 7;
  app.cores[3].taken = 7;
  app.Decide();
  const CoreSample last = app.cores.back();
  app.cores.pop_back();
  EXPECT_EQ(app.Decide(), Wish::kSame);
  app.cores.push_back(last);
  app.cores.back().enqueued = 8;
  EXPECT_EQ(app.Decide(), Wish::kSame) << "it has just come";
  EXPECT_EQ(app.Decide(), Wish::kMore);
}

TEST(CongestionTest, NeverTakesACoreAway) {
  ShownApp app("congestion", 4);
  for (CoreSample& core : app.cores) core.looking = true;
  EXPECT_EQ(app.Decide(), Wish::kSame);
}

}  // namespace
}  // namespace yamanote
