// mlfq_test.cc - who overtakes whom, and that nobody starves.

#include <gmock/gmock.h>

#include <climits>

#include "policy/order_test.h"

namespace yamanote {
namespace {

using testing::ElementsAre;
using namespace std::chrono_literals;

// Enqueues `task` as one that has used up `slices` slices since it arrived.
void EnqueueUsed(Policy& policy, Task& task, uint32_t slices) {
  task.policy_count = slices - 1;
  policy.Enqueue(task, Wake::kPreempted, {});
}

TEST(MlfqTest, ANewcomerOvertakesWhoHasUsedUpASlice) {
  const auto mlfq = MakePolicy("mlfq", {.slice = 5us});
  Tasks t;
  mlfq->Enqueue(t[0], Wake::kArrival, {});
  mlfq->PickNext(0, {});
  mlfq->Enqueue(t[1], Wake::kArrival, {});
  mlfq->Enqueue(t[0], Wake::kPreempted, {});
  mlfq->Enqueue(t[2], Wake::kArrival, {});
  EXPECT_THAT(PickAll(*mlfq), ElementsAre(2, 3, 1));
}

TEST(MlfqTest, LevelsArePowersOfTwo) {
  const auto mlfq = MakePolicy("mlfq", {.slice = 5us});
  Tasks t;
  EnqueueUsed(*mlfq, t[0], 4);
  EnqueueUsed(*mlfq, t[1], 3);
  EnqueueUsed(*mlfq, t[2], 2);
  EnqueueUsed(*mlfq, t[3], 1);
  EXPECT_THAT(PickAll(*mlfq), ElementsAre(4, 2, 3, 1));
}

// The ids of those that run for a slice each, `count` times.
std::vector<uint64_t> Turns(OneCore& core, int count) {
  std::vector<uint64_t> ran;
  for (int i = 0; i < count; ++i) ran.push_back(core.Run()->id);
  return ran;
}

TEST(MlfqTest, ALevelIsUsedUpInOneGo) {
  for (const Rejoin rejoin : {Rejoin::kHead, Rejoin::kTail}) {
    OneCore core("mlfq", {.slice = 5us, .rejoin = rejoin});
    Tasks t;
    core.Enqueue(t[0], Wake::kArrival);
    core.Enqueue(t[1], Wake::kArrival);
    EXPECT_THAT(Turns(core, 10), ElementsAre(1, 2, 1, 2, 1, 1, 2, 2, 1, 1));
  }
}

// Nobody ever leaves the last level.
TEST(MlfqTest, TasksThatNeverEndShareTheCore) {
  for (const uint32_t used : {1u, 16'384u, UINT32_MAX - 50}) {
    OneCore core("mlfq", {.slice = 5us});
    Tasks t;
    for (size_t i = 0; i < 2; ++i) {
      t[i].policy_count = used;
      core.Enqueue(t[i], Wake::kPreempted);
    }
    int in_a_row = 0;
    uint64_t last = 0;
    std::array<int, 3> turns{};
    for (int i = 0; i < 100'000; ++i) {
      const uint64_t id = core.Run()->id;
      in_a_row = id == last ? in_a_row + 1 : 1;
      last = id;
      ++turns[id];
      // 63 up to a multiple of 64 that begins a level, and 64.
      ASSERT_LE(in_a_row, 127) << used;
    }
    EXPECT_NEAR(turns[1], turns[2], 200) << used;
  }
}

// As a task that waits for a lock of its own does.
TEST(MlfqTest, WhoYieldsToATaskThatNeverEndsRunsAgain) {
  const auto mlfq = MakePolicy("mlfq", {.slice = 5us});
  Tasks t;
  mlfq->Enqueue(t[0], Wake::kArrival, {});
  mlfq->Enqueue(t[1], Wake::kArrival, {});
  int since = 0;
  for (int i = 0; i < 100'000; ++i) {
    Task* const task = mlfq->PickNext(0, {});
    since = task == &t[1] ? 0 : since + 1;
    ASSERT_LE(since, 128) << i;
    mlfq->Enqueue(*task, task == &t[1] ? Wake::kYield : Wake::kPreempted, {});
  }
}

TEST(MlfqTest, WhoWakesUpStartsAnew) {
  const auto mlfq = MakePolicy("mlfq", {.slice = 5us});
  Tasks t;
  EnqueueUsed(*mlfq, t[0], 1);
  t[1].policy_count = 100;
  mlfq->Enqueue(t[1], Wake::kWakeup, {});
  EXPECT_THAT(PickAll(*mlfq), ElementsAre(2, 1));
}

TEST(MlfqTest, WhoMovesToAnotherDomainKeepsItsLevel) {
  const auto mlfq = MakePolicy("mlfq", {.slice = 5us});
  Tasks t;
  t[0].policy_count = 1;
  mlfq->Enqueue(t[0], Wake::kMigrated, {});
  mlfq->Enqueue(t[1], Wake::kArrival, {});
  EXPECT_THAT(PickAll(*mlfq), ElementsAre(2, 1));
}

// Who yields in a loop until a long task has done something must not be picked again
// and again.
TEST(MlfqTest, WhoYieldsGoesBehindAllThatWait) {
  const auto mlfq = MakePolicy("mlfq", {.slice = 5us});
  Tasks t;
  EnqueueUsed(*mlfq, t[0], 50);
  mlfq->Enqueue(t[1], Wake::kYield, {});
  mlfq->Enqueue(t[2], Wake::kArrival, {});
  EXPECT_THAT(PickAll(*mlfq), ElementsAre(3, 1, 2));
  mlfq->Enqueue(t[1], Wake::kYield, {});  // With nobody before it.
  EXPECT_THAT(PickAll(*mlfq), ElementsAre(2));
}

// Picks an arrival `count` times while t[0] has used up `used` slices; returns the picks
// that t[0] got instead, counted from 1. The first level runs empty after every `empty`-th.
std::vector<int> TurnsOfALongTask(Policy& policy, Tasks& t, uint32_t used,
                                  int count, int empty) {
  EnqueueUsed(policy, t[0], used);
  std::vector<int> turns;
  for (int i = 1; i <= count; ++i) {
    policy.Enqueue(t[1], Wake::kArrival, {});
    const Task* const task = policy.PickNext(0, {});
    if (task == &t[0]) {
      turns.push_back(i);
      EnqueueUsed(policy, t[0], used);
      EXPECT_EQ(policy.PickNext(0, {}), &t[1]);
    }
    if (i % empty == 0) {
      EXPECT_EQ(policy.PickNext(0, {}), &t[0]);
      EnqueueUsed(policy, t[0], used);
    }
  }
  return turns;
}

TEST(MlfqTest, LongTasksWaitWhileTheFirstLevelRunsEmptyNowAndThen) {
  const auto mlfq = MakePolicy("mlfq", {.slice = 5us});
  Tasks t;
  EXPECT_THAT(TurnsOfALongTask(*mlfq, t, 100, 200, /*empty=*/25),
              ElementsAre(64, 127, 190));
}

TEST(MlfqTest, LongTasksGetMoreWhereTheFirstLevelNeverRunsEmpty) {
  const auto mlfq = MakePolicy("mlfq", {.slice = 5us});
  Tasks t;
  const std::vector<int> turns =
      TurnsOfALongTask(*mlfq, t, 100, 10'000, /*empty=*/INT_MAX);
  ASSERT_GT(turns.size(), 9'000u);
  EXPECT_GE(turns.front(), 32);
  EXPECT_GE(turns[turns.size() - 3], 9'997);
}

// Else a task without end could take so much that the first level never runs empty again.
TEST(MlfqTest, VeryLongTasksGetNoMoreThan1In64) {
  const auto mlfq = MakePolicy("mlfq", {.slice = 5us});
  Tasks t;
  EXPECT_THAT(
      TurnsOfALongTask(*mlfq, t, 1'000, 10'000, /*empty=*/INT_MAX),
      testing::SizeIs(testing::AllOf(testing::Ge(150), testing::Le(170))));
}

TEST(MlfqTest, ShortTasksOneByOneAreNoReasonToHurryLongOnes) {
  const auto mlfq = MakePolicy("mlfq", {.slice = 5us});
  Tasks t;
  for (int i = 0; i < 10'000; ++i) {
    mlfq->Enqueue(t[1], Wake::kArrival, {});
    ASSERT_EQ(mlfq->PickNext(0, {}), &t[1]);
  }
  const std::vector<int> turns =
      TurnsOfALongTask(*mlfq, t, 100, 40, /*empty=*/INT_MAX);
  EXPECT_THAT(turns, ElementsAre(32));
}

// Each level in turn, however many short tasks come.
TEST(MlfqTest, NobodyStarves) {
  const auto mlfq = MakePolicy("mlfq", {.slice = 5us});
  Tasks t;
  EnqueueUsed(*mlfq, t[0], 4);
  EnqueueUsed(*mlfq, t[1], 100);
  EnqueueUsed(*mlfq, t[2], 1'000'000);
  std::array<int, 3> last{};
  for (int i = 1; i < 10'000; ++i) {
    mlfq->Enqueue(t[3], Wake::kArrival, {});
    const Task* task = mlfq->PickNext(0, {});
    if (task != &t[3]) {
      last[task->id - 1] = i;
      EnqueueUsed(*mlfq, t[task->id - 1], t[task->id - 1].policy_count);
      ASSERT_EQ(mlfq->PickNext(0, {}), &t[3]);
    }
    for (const int one : last) ASSERT_LE(i - one, 3 * 64) << i;
  }
}

// The second of a level, too.
TEST(MlfqTest, NobodyStarvesBehindHisLike) {
  for (const uint32_t used : {1u, 100u, 5'000u, 1'000'000u}) {
    const auto mlfq = MakePolicy("mlfq", {.slice = 5us});
    Tasks t;
    EnqueueUsed(*mlfq, t[0], used);
    EnqueueUsed(*mlfq, t[1], used);
    int picks = 0;
    for (const Task* task = nullptr; task != &t[1]; ++picks) {
      ASSERT_LT(picks, 2 * 64 * 64) << used;
      mlfq->Enqueue(t[2], Wake::kArrival, {});
      Task* const picked = mlfq->PickNext(0, {});
      if (picked != &t[2]) {
        task = picked;
        mlfq->Enqueue(*picked, Wake::kPreempted, {});
        ASSERT_EQ(mlfq->PickNext(0, {}), &t[2]);
      }
    }
  }
}

TEST(MlfqTest, HasTheConfiguredSlice) {
  EXPECT_EQ(MakePolicy("mlfq")->Slice(Task()), kNoPreemption);
  EXPECT_EQ(MakePolicy("mlfq", {.slice = 5us})->Slice(Task()), 5us);
}

}  // namespace
}  // namespace yamanote
