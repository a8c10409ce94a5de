// delay_test.cc - waiting up to the limit, and beyond it.

#include "arbiter/core_policy_test.h"

namespace yamanote {
namespace {

using namespace std::chrono_literals;

TEST(DelayTest, AsksForACoreFromTheLimitOn) {
  ShownApp app("delay", 2, {.cores = 4, .delay = 10us});
  app.cores[0].enqueued = 9;
  app.cores[0].oldest = 9'999ns;
  EXPECT_EQ(app.Decide(), Wish::kSame);
  app.cores[1].oldest = 10us;
  EXPECT_EQ(app.Decide(), Wish::kMore);
}

TEST(DelayTest, AFreshCoreIsLeftOut) {
  ShownApp app("delay", 1);
  app.cores[0].oldest = 1ms;
  app.cores[0].fresh = true;
  EXPECT_EQ(app.Decide(), Wish::kSame);
}

TEST(DelayTest, WhoHasNoCoreGetsOneAtOnce) {
  ShownApp app("delay", 0);
  EXPECT_EQ(app.Decide(), Wish::kSame);
  app.cores[3].enqueued = 1;
  EXPECT_EQ(app.Decide(), Wish::kMore);
}

}  // namespace
}  // namespace yamanote
