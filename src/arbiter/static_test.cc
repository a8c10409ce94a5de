// static_test.cc - it wants everything, whatever happens.

#include "arbiter/core_policy_test.h"

namespace yamanote {
namespace {

TEST(StaticTest, WantsMoreWhetherTasksWaitOrNot) {
  ShownApp app("static", 1);
  EXPECT_EQ(app.Decide(), Wish::kMore);
  app.cores[0].looking = true;
  EXPECT_EQ(app.Decide(), Wish::kMore);
}

TEST(StaticTest, ItsIdleCoresAreKept) {
  EXPECT_FALSE(FindCorePolicy("static")->parks);
}

}  // namespace
}  // namespace yamanote
