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

// ---- Which lines are read ---------------------------------------------------

// Nobody expects a task there: its turn comes within kSweep for each core. From then on
// the line is one of those that are read in every pass.
TEST_F(ArbiterTest, ATaskOnALineThatIsNotWatchedIsFound) {
  constexpr unsigned kCores = 64;
  Start(kCores);
  const auto app = Add(kBursting);
  Pass();
  (*app)[40].enqueued = 1;
  const Duration since = kernel_.now;
  while (arbiter_->allocator().held(app->id) == 0) {
    ASSERT_LT(kernel_.now - since, kCores * kSweep);
    Pass();
  }
  const CoreId core = Granted(*app);
  Come(*app, core);
  (*app)[40].taken = 1;
  Pass();
  Leave(*app, core);
  for (int i = 0; i < 100; ++i) Pass();
  ASSERT_EQ(arbiter_->allocator().held(app->id), 0);
  (*app)[40].enqueued = 2;
  Pass();
  EXPECT_EQ(arbiter_->allocator().held(app->id), 1);
}

// As many lines as it likes, and all move: none is lost, though not all are watched.
TEST_F(ArbiterTest, TasksOnManyLinesAreAllFound) {
  Start(64);
  const auto app = Add(kBursting);
  Pass();
  for (CoreId core = 0; core < 64; ++core) (*app)[core].enqueued = 1;
  for (unsigned i = 0; i < 40; ++i) Pass();
  ASSERT_EQ(arbiter_->allocator().held(app->id), 1);
  for (CoreId core = 0; core < 64; ++core) {
    if (core != 50) (*app)[core].taken = 1;
  }
  Come(*app, Granted(*app));
  // Waits for longer than `delay`, on a core that it does not hold.
  (*app)[50].oldest_since = 1;
  for (unsigned i = 0; i < 40; ++i) Pass();
  EXPECT_GE(arbiter_->allocator().held(app->id), 2);
}

// Passes that are far apart look at more.
TEST_F(ArbiterTest, AfterAWhileAllLinesAreRead) {
  Start(64);
  const auto app = Add(kBursting);
  Pass();
  (*app)[63].enqueued = 1;
  Pass(milliseconds(1));
  EXPECT_EQ(arbiter_->allocator().held(app->id), 1);
}

// ---- Who is late ------------------------------------------------------------

// Another thread in its place is no answer: else naming one after another would keep the
// core from its next owner for as long as one likes.
TEST_F(ArbiterTest, WhoIsLateIsNotReplaced) {
  Start(1);
  const auto late = Add(kBursting);
  const auto host = Add(kService);
  Need(*late);
  Pass();
  Come(*late, 0);
  Pass();
  Come(*host, 0);
  Pass();
  Pass(milliseconds(2));
  Pass(microseconds(100));
  ASSERT_EQ(Counters(*late).moves, 1);
  Leave(*host, 0);

  auto tids = Tids(*late);
  tids[0] += 100;
  ASSERT_TRUE(arbiter_->SetWorkers(late->id, tids));
  EXPECT_EQ(kernel_.cpus[tids[0]], std::vector<int>({0, 1}));
  Pass();
  Pass();
  EXPECT_EQ(Owner(0), kNobody);
  // The answer that was asked for.
  Leave(*late, 0);
  Pass();
  Pass();
  EXPECT_EQ(kernel_.cpus[tids[0]], std::vector<int>({10}));
  EXPECT_EQ(Owner(0), late->id);
}

TEST_F(ArbiterTest, SomebodyLateKeepsTheArbiterAwake) {
  Start(1);
  const auto late = Add(kBursting);
  const auto host = Add(kService);
  Need(*late);
  Pass();
  Come(*late, 0);
  Pass();
  NeedNoMore(*late);
  Come(*host, 0);
  Pass();
  Pass(milliseconds(2));
  Pass(microseconds(100));
  ASSERT_EQ(Counters(*late).moves, 1);
  EXPECT_EQ(arbiter_->NextDue(kernel_.now, milliseconds(1)),
            kernel_.now + milliseconds(1));
  Leave(*late, 0);
  Pass();
  EXPECT_EQ(arbiter_->NextDue(kernel_.now, milliseconds(1)), Duration::max());
  // Nor for one that is gone.
  arbiter_->Remove(late->id);
  EXPECT_EQ(arbiter_->NextDue(kernel_.now, milliseconds(1)), Duration::max());
}

// ---- Epochs -----------------------------------------------------------------

TEST(BoardTest, EpochsNeverComeBackToThatOfAnEmptyMemory) {
  EXPECT_EQ(NextEpoch(0), 1);
  EXPECT_EQ(NextEpoch((1U << 30) - 2), (1U << 30) - 1);
  EXPECT_EQ(NextEpoch((1U << 30) - 1), 1);
  EXPECT_EQ(EpochOf(CommandWord(NextEpoch((1U << 30) - 1), Command::kNext)), 1);
}

}  // namespace
}  // namespace yamanote::arbiter
