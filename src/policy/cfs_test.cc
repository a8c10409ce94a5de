// cfs_test.cc - shares by weight, and what sleeping and moving do to them.

#include <gmock/gmock.h>

#include <random>

#include "policy/order_test.h"

namespace yamanote {
namespace {

using testing::ElementsAre;
using namespace std::chrono_literals;

// The defaults: a period of 50 us, slices of at least 12.5 us.
constexpr Duration kPeriod = 50us;

Duration Gap(Duration a, Duration b) { return a > b ? a - b : b - a; }

TEST(CfsTest, ASliceIsTheTasksShareOfThePeriodOrAQuarter) {
  OneCore core("cfs");
  Tasks t;
  t[1].weight = 3;
  core.Enqueue(t[0], Wake::kArrival);
  EXPECT_EQ(core.policy().Slice(t[0]), 50us);  // Alone: all of it.
  core.Enqueue(t[1], Wake::kArrival);
  EXPECT_EQ(core.policy().Slice(t[0]), 12'500ns);  // 1 of 4.
  EXPECT_EQ(core.policy().Slice(t[1]), 37'500ns);  // 3 of 4.
  core.Enqueue(t[2], Wake::kArrival);
  EXPECT_EQ(core.policy().Slice(t[0]), 12'500ns);  // 1 of 5, but a quarter.
  EXPECT_EQ(core.policy().Slice(t[1]), 30us);      // 3 of 5.
  // Who left no longer counts.
  EXPECT_EQ(core.Run(Stop::kBlocked), &t[0]);
  EXPECT_EQ(core.policy().Slice(t[2]), 12'500ns);  // 1 of 4.
  EXPECT_EQ(MakePolicy("cfs", {.slice = 8us})->Slice(Task()), 8us);
}

TEST(CfsTest, SharesFollowWeights) {
  OneCore core("cfs");
  Tasks t;
  for (Task& task : t) {
    task.weight = static_cast<uint16_t>(task.id);
    core.Enqueue(task, Wake::kArrival);
  }
  core.RunFor(100ms);
  // 1, 2, 3 and 4 tenths of the time, and nobody is more than a slice off.
  for (const Task& task : t)
    EXPECT_LE(Gap(task.attained, task.weight * 10ms), kPeriod) << task.id;
}

// Whatever makes tasks give way, of two that always wait neither has had more than
// a period's service per weight more than the other: the least goes first, and
// nobody runs longer than the period.
TEST(CfsTest, NobodyGetsAheadByMoreThanAPeriod) {
  for (uint32_t seed = 1; seed <= 100; ++seed) {
    std::mt19937 random(seed);
    OneCore core("cfs");
    Tasks t;
    for (Task& task : t) {
      task.weight = static_cast<uint16_t>(1 + random() % 10);
      core.Enqueue(task, Wake::kArrival);
    }
    // They were placed a slice of their own from the start.
    Duration placed[4];
    for (int i = 0; i < 4; ++i) placed[i] = core.policy().Slice(t[i]);
    for (int step = 0; step < 2000; ++step) {
      core.Run(Stop::kPreempted, Duration(1 + random() % 50'000));
      for (const Task& a : t) {
        for (const Task& b : t) {
          // The first placement differs by a period at most.
          ASSERT_LE(a.attained / a.weight - b.attained / b.weight, 2 * kPeriod)
              << "seed " << seed << " step " << step;
        }
      }
    }
  }
}

// The core is never free of newcomers, and yet the old task gets its turns.
TEST(CfsTest, NewcomersDoNotStarveTheOld) {
  OneCore core("cfs");
  Task old;
  core.Enqueue(old, Wake::kArrival);
  core.Run(Stop::kPreempted, 1ms);  // Far ahead of everybody.
  std::vector<Task> newcomers(1000);
  size_t next = 0;
  while (next < 4) core.Enqueue(newcomers[next++], Wake::kArrival);
  while (old.attained == 1ms && next < newcomers.size()) {
    if (core.Run(Stop::kFinished, 5us) == &old) break;
    core.Enqueue(newcomers[next++], Wake::kArrival);
  }
  // Each comes a slice of 12.5 us after the last floor and there are always five
  // tasks, so the floor rises by that with each generation of four: 1 ms takes 80
  // of them.
  EXPECT_LT(next, 4u * 85u);
}

TEST(CfsTest, SleepIsSavedUpForHalfAPeriodOnly) {
  OneCore core("cfs");
  Tasks t;
  for (int i = 0; i < 3; ++i) core.Enqueue(t[i], Wake::kArrival);
  while (core.Run(Stop::kPreempted) != &t[0]) {
  }
  while (core.Run(Stop::kBlocked) != &t[0])  // Only to reach its turn.
    core.Enqueue(t[1].attained > t[2].attained ? t[1] : t[2], Wake::kWakeup);
  core.RunFor(100ms);
  const Duration before[] = {t[0].attained, t[1].attained};
  core.Enqueue(t[0], Wake::kWakeup);
  EXPECT_EQ(core.Run(), &t[0]);  // It goes first,
  core.RunFor(10ms);
  // and is ahead by 25 us of credit and a slice of at most 25, no more.
  const Duration gain =
      (t[0].attained - before[0]) - (t[1].attained - before[1]);
  EXPECT_LE(gain, 50us);
  EXPECT_GE(gain, -25us);
}

// It sleeps for a microsecond after each slice: that forgives nothing.
TEST(CfsTest, AShortSleepKeepsWhatIsOwed) {
  OneCore core("cfs");
  Tasks t;
  for (int i = 0; i < 3; ++i) core.Enqueue(t[i], Wake::kArrival);
  while (core.now() < Instant(30ms)) {
    Task* const task = core.policy().PickNext(0, core.now());
    core.Pass(15us);
    core.StopNow(*task, task == &t[0] ? Stop::kBlocked : Stop::kPreempted,
                 15us);
    if (task == &t[0]) core.Enqueue(t[0], Wake::kWakeup);
  }
  EXPECT_LE(Gap(t[0].attained, 10ms), kPeriod);
}

// It ran alone for 10 ms: nobody missed that service, so it owes none.
TEST(CfsTest, WhoRanAloneOwesNothing) {
  OneCore core("cfs");
  Tasks t;
  core.Enqueue(t[0], Wake::kArrival);
  Task* const first = core.policy().PickNext(0, core.now());
  core.Pass(10ms);
  core.Enqueue(t[1], Wake::kArrival);
  core.StopNow(*first, Stop::kPreempted, 10ms);
  core.RunFor(1ms);
  EXPECT_LE(Gap(t[0].attained - 10ms, t[1].attained), kPeriod);
}

TEST(CfsTest, WhoYieldsLetsAnotherPass) {
  OneCore core("cfs");
  Tasks t;
  core.Enqueue(t[0], Wake::kArrival);
  core.Enqueue(t[1], Wake::kArrival);
  // Each time it has run for next to nothing.
  std::vector<uint64_t> ran;
  for (int i = 0; i < 4; ++i) ran.push_back(core.Run(Stop::kYielded, 1ns)->id);
  EXPECT_THAT(ran, ElementsAre(1, 2, 1, 2));
}

// Virtual time is 100 ms in one domain and 1 ms in the other.
class CfsMigrationTest : public testing::Test {
 protected:
  CfsMigrationTest() {
    for (int i = 0; i < 2; ++i) {
      old_.Enqueue(there_[i], Wake::kArrival);
      new_.Enqueue(here_[i], Wake::kArrival);
    }
    old_.RunFor(200ms);
    new_.RunFor(2ms);
  }

  // `task` came to the new domain and shares it from now on.
  void ExpectSharesEvenly(const Task& task) {
    const Duration before[] = {task.attained, here_[0].attained};
    new_.RunFor(3ms);
    // A third of 3 ms, give or take what it brought along.
    EXPECT_LE(Gap(task.attained - before[0], 1ms), 2 * kPeriod);
    EXPECT_LE(Gap(here_[0].attained - before[1], 1ms), 2 * kPeriod);
  }

  OneCore old_{"cfs", {.first_core = 1}};
  OneCore new_{"cfs", {.first_core = 2}};
  Tasks there_;
  Tasks here_;
};

TEST_F(CfsMigrationTest, AStolenTaskTakesItsLeadAlongNotItsVirtualTime) {
  Task* const stolen = old_.policy().Steal(2, old_.now());
  new_.Enqueue(*stolen, Wake::kMigrated);
  ExpectSharesEvenly(*stolen);
}

TEST_F(CfsMigrationTest, SoDoesOneThatIsWokenElsewhere) {
  Task* const blocked = old_.Run(Stop::kBlocked);
  new_.Enqueue(*blocked, Wake::kWakeup);
  ExpectSharesEvenly(*blocked);
}

// It is 1 ms ahead of the others in the old domain, and then in the new one.
TEST_F(CfsMigrationTest, WhatItOwesItOwesThereToo) {
  Task* const hog = old_.Run(Stop::kBlocked, 1ms);
  new_.Enqueue(*hog, Wake::kWakeup);
  const Duration before = hog->attained;
  new_.RunFor(1'500us);  // Both others have to get 1 ms first.
  EXPECT_EQ(hog->attained, before);
  new_.RunFor(1ms);
  EXPECT_GT(hog->attained, before);
}

}  // namespace
}  // namespace yamanote
