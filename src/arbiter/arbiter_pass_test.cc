// arbiter_pass_test.cc - what one pass makes of several applications at once.

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "arbiter/arbiter_fixture.h"

namespace yamanote::arbiter {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

// The heir's line is read after that of the one that left, in the same pass, and still
// has its last answer. That is none to the new grant: else the board would say that it
// has the core while the books give it to the next one.
TEST_F(ArbiterTest, WhatIsHandedOnWithinAPassStaysGranted) {
  Start(1);
  const auto first = Add(kBursting);
  const auto second = Add(kBursting);
  ASSERT_LT(first->id, second->id);
  Need(*first);
  Pass();
  Come(*first, 0);
  Pass();
  Need(*second);
  Pass();
  ASSERT_EQ(Owner(0), first->id);
  NeedNoMore(*first);
  NeedNoMore(*second);
  Leave(*first, 0);
  Pass();
  EXPECT_EQ(Owner(0), second->id);
  EXPECT_EQ(State(0), CoreState::kGranted);
  EXPECT_EQ(Word(*second, 0), CommandWord(1, Command::kGranted));
  Come(*second, 0);
  Pass();
  EXPECT_EQ(State(0), CoreState::kRunning);
  EXPECT_EQ(Counters(*second).grants, 1);
  EXPECT_EQ(Counters(*second).forgeries, 0);
}

}  // namespace
}  // namespace yamanote::arbiter
