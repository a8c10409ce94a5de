// placement_test.cc - where tasks wait and who runs them, in virtual time: every
// placement through its interface (central.cc, dedicated.cc, per_core.cc and, with
// one core, single.cc).

#include "dispatch/placement.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>
#include <string>

#include "dispatch/test_engine.h"

namespace yamanote::dispatch {
namespace {

using namespace std::chrono_literals;

struct Kind {
  std::string name;
  Scheduling scheduling;
  bool keeps_all_cores_busy = true;  // No core idles while a task waits.
};

std::vector<Kind> Kinds() {
  using P = PlacementKind;
  using D = DispatcherKind;
  return {
      {"central", {.placement = P::kCentral, .dispatcher = D::kShared}},
      // The dispatcher idles while a worker has room.
      {"dedicated1",
       {.placement = P::kCentral, .dispatcher = D::kDedicated, .slots = 1},
       false},
      {"dedicated2",
       {.placement = P::kCentral, .dispatcher = D::kDedicated, .slots = 2},
       false},
      {"dedicated16",
       {.placement = P::kCentral, .dispatcher = D::kDedicated, .slots = 16},
       false},
      {"partitioned", {.placement = P::kPartitioned}, false},
      {"stealing", {.placement = P::kStealing}},
      {"two_level", {.placement = P::kTwoLevel}, false},
      {"two_level_steal", {.placement = P::kTwoLevel, .steal = true}},
  };
}

class EveryPlacementTest : public testing::TestWithParam<Kind> {};

// Every placement under every order, with and without slices, on 1 to 5 cores:
// whatever arrives from wherever finishes, and no notification is forgotten.
TEST_P(EveryPlacementTest, EverythingFinishesUnderEveryOrder) {
  for (const PolicyInfo* const order : Policies()) {
    for (uint32_t seed = 1; seed <= 20; ++seed) {
      SCOPED_TRACE(std::string(order->name) + " seed " + std::to_string(seed));
      std::mt19937 random(seed);
      Scheduling scheduling = GetParam().scheduling;
      scheduling.order = order->name;
      if (seed % 2 == 0) scheduling.slice = 5us;
      unsigned cores = 1 + seed % 5;
      if (cores == 1) scheduling.dispatcher = DispatcherKind::kAuto;
      ASSERT_TRUE(Validate(scheduling, cores).has_value());
      TestEngine engine(scheduling, cores);
      Duration at{0};
      constexpr size_t kJobs = 200;
      for (size_t i = 0; i < kJobs; ++i) {
        at += Duration(random() % 8'000 / cores);
        engine.Arrive(
            at, {.service =
                     Duration(1 + random() % (i % 50 == 0 ? 300'000 : 9'000)),
                 .request_class = static_cast<ClassId>(random() % 2),
                 .flow = random() % 7,
                 .from = random() % 2 == 0
                             ? kNoCore
                             : static_cast<CoreId>(random() % cores)});
      }
      for (Duration until{0}; until < at; until += 10us) {
        engine.RunUntil(until);
        if (GetParam().keeps_all_cores_busy) {
          ASSERT_EQ(engine.IdleWithWork(), 0u)
              << "at " << until.count() << " ns";
        }
      }
      engine.RunUntilIdle();
      ASSERT_EQ(engine.FinishedCount(), kJobs);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Every, EveryPlacementTest, testing::ValuesIn(Kinds()),
                         [](const auto& param) { return param.param.name; });

// With a slice, a long request must not hold up the short one behind it.
TEST(PlacementTest, SliceBoundsHeadOfLineBlocking) {
  TestEngine engine({.order = "fifo", .slice = 5us}, 1);
  const size_t large = engine.Arrive(0us, {.service = 1ms});
  const size_t small = engine.Arrive(1us, {.service = 1us});
  engine.RunUntilIdle();
  // Waits 4 us for the slice to end, then runs 1 us.
  EXPECT_EQ(engine.Sojourn(small), 5us);
  EXPECT_EQ(engine.Sojourn(large), 1001us);
  EXPECT_EQ(engine.preemptions(), 1u);
}

// Who came while a task ran is before it, also where the arrival is still in the
// inbox when the core puts the preempted task back.
TEST(PlacementTest, WhoWasPreemptedIsBehindThoseWhoCame) {
  for (const Kind& kind : Kinds()) {
    if (kind.scheduling.dispatcher == DispatcherKind::kDedicated) continue;
    SCOPED_TRACE(kind.name);
    Scheduling scheduling = kind.scheduling;
    scheduling.order = "rr";
    scheduling.slice = 5us;
    const auto placement = dispatch::MakePlacement(scheduling, 1);
    Task running;
    Task arrived;
    placement->Enqueue(running, Wake::kArrival, 0, kNoCore, {});
    ASSERT_EQ(placement->PickNext(0, {}), &running);
    placement->Enqueue(arrived, Wake::kArrival, 0, kNoCore, {});
    placement->Enqueue(running, Wake::kPreempted, 0, 0, {});
    EXPECT_EQ(placement->PickNext(0, {}), &arrived);
    EXPECT_EQ(placement->PickNext(0, {}), &running);
  }
}

TEST(PlacementTest, WithoutASliceTheShortOneWaits) {
  TestEngine engine({.order = "fifo"}, 1);
  engine.Arrive(0us, {.service = 1ms});
  const size_t small = engine.Arrive(1us, {.service = 1us});
  engine.RunUntilIdle();
  EXPECT_EQ(engine.Sojourn(small), 1000us);
}

// LAS sees attained service, which the engine keeps only for such orders: the
// newcomer runs at once, for the old one's slice is over, and stays ahead.
TEST(PlacementTest, LeastAttainedServiceFinishesTheShortOneFirst) {
  TestEngine engine({.order = "las", .slice = 5us}, 1);
  const size_t large = engine.Arrive(0us, {.service = 40us});
  const size_t small = engine.Arrive(22us, {.service = 15us});
  engine.RunUntilIdle();
  EXPECT_EQ(engine.Sojourn(small), 15us);
  EXPECT_EQ(engine.Sojourn(large), 55us);
}

// One queue for two cores: nobody waits behind the long one.
TEST(PlacementTest, CentralQueueGivesTheNextTaskToWhoeverIsFree) {
  TestEngine engine({.placement = PlacementKind::kCentral}, 2);
  engine.Arrive(0us, {.service = 100us});
  std::vector<size_t> small;
  for (int i = 0; i < 5; ++i)
    small.push_back(engine.Arrive(1us, {.service = 10us}));
  engine.RunUntilIdle();
  for (size_t i = 0; i < small.size(); ++i) {
    EXPECT_EQ(engine.Sojourn(small[i]), 10us * (i + 1));
  }
}

// DARC keeps long tasks back from core 0 (with a dispatcher: from worker 1). That
// must not keep them from the other two, whichever of them sleep, and a short task
// runs at once whatever waits.
TEST(PlacementTest, AnOrderThatKeepsTasksBackFindsTheCoresThatMayRunThem) {
  for (const DispatcherKind dispatcher :
       {DispatcherKind::kShared, DispatcherKind::kDedicated}) {
    SCOPED_TRACE(ToString(dispatcher));
    TestEngine engine({.order = "darc",
                       .placement = PlacementKind::kCentral,
                       .dispatcher = dispatcher,
                       .classes = {{.name = "short"}, {.name = "long"}}},
                      dispatcher == DispatcherKind::kShared ? 3 : 4);
    Duration at = 0us;
    // A profile is 10,000 tasks; these are one at a time.
    for (int i = 0; i < 10'000; ++i) {
      engine.Arrive(at, {.service = i % 2 == 0 ? 1us : 100us,
                         .request_class = static_cast<ClassId>(i % 2)});
      at += 200us;
    }
    engine.RunUntilIdle();
    std::vector<size_t> large;
    for (int i = 0; i < 5; ++i)
      large.push_back(
          engine.Arrive(at, {.service = 100us, .request_class = 1}));
    const size_t small = engine.Arrive(at + 1us, {.service = 1us});
    engine.RunUntil(at + 50us);
    EXPECT_EQ(engine.Sojourn(small), 1us);
    // A dispatcher stays awake while anything waits.
    if (dispatcher == DispatcherKind::kShared) {
      EXPECT_EQ(engine.IdleWithWork(), 0u);
    }
    engine.RunUntilIdle();
    // Two at a time. A dispatcher lends a hand while all workers are busy, so while the
    // short one runs: it does a microsecond of one of the long ones.
    EXPECT_EQ(engine.Sojourn(large[0]), 100us);
    EXPECT_EQ(engine.Sojourn(large[1]), 100us);
    std::vector<Duration> rest;
    for (size_t i = 2; i < 5; ++i) rest.push_back(engine.Sojourn(large[i]));
    std::ranges::sort(rest);
    EXPECT_LE(rest[0], 200us);
    EXPECT_LE(rest[1], 200us);
    EXPECT_LE(rest[2], 300us);
    EXPECT_GE(rest[2], dispatcher == DispatcherKind::kShared ? 300us : 297us);
  }
}

// Whatever the placement, the order knows where the core that asks is, by its number.
TEST(PlacementTest, TheOrderIsToldWhereTheCoresAre) {
  const std::vector<CoreLocality> places = {{0, 0}, {0, 0}, {1, 0}, {1, 0}};
  const auto placement = MakePlacement({.order = "lrtf",
                                        .placement = PlacementKind::kCentral,
                                        .dispatcher = DispatcherKind::kShared},
                                       4, dispatch::Callers::kOneThread,
                                       dispatch::Supply::kOwn, places);
  Task far;
  Task near;
  far.last_core = 1;
  near.last_core = 3;
  near.attained = 1us;
  placement->Enqueue(far, Wake::kWakeup, 0, kNoCore, {});
  placement->Enqueue(near, Wake::kWakeup, 0, kNoCore, {});
  EXPECT_EQ(placement->PickNext(2, {}), &near);
  EXPECT_EQ(placement->PickNext(2, {}), &far);
}

// The long task began before there was a profile, on the core that is the short
// ones' now. When it gives way, only the other core may go on with it, and sleeps.
TEST(PlacementTest, ACoreThatMayNotGoOnWithATaskWakesTheOthersOnce) {
  const auto placement =
      MakePlacement({.order = "darc",
                     .placement = PlacementKind::kCentral,
                     .classes = {{.name = "short"}, {.name = "long"}}},
                    2);
  Task large;
  large.request_class = 1;
  placement->Enqueue(large, Wake::kArrival, 0, kNoCore, {});
  ASSERT_EQ(placement->PickNext(0, {}), &large);
  Task finished;
  for (int i = 0; i < 10'000; ++i) {
    finished.request_class = static_cast<ClassId>(i % 2);
    finished.attained = i % 2 == 0 ? 1us : 100us;
    placement->OnStop(finished, 1, Stop::kFinished, 1us);
  }
  EXPECT_EQ(placement->Exchange(large, Wake::kYield, 0, {}), nullptr);
  EXPECT_TRUE(placement->HasWork(0));  // It has to wake the other.
  EXPECT_EQ(placement->Dispatch(0, {}).notify, Notify::kEveryone);
  EXPECT_EQ(placement->Dispatch(0, {}).notify, Notify::kNobody);
  EXPECT_EQ(placement->PickNext(0, {}), nullptr);
  EXPECT_EQ(placement->Dispatch(0, {}).notify, Notify::kNobody);
  EXPECT_FALSE(placement->HasWork(0));
  EXPECT_TRUE(placement->HasWork(1));
  EXPECT_EQ(placement->PickNext(1, {}), &large);
}

TEST(PlacementTest, PartitionedWorkStaysWhereItsFlowLives) {
  TestEngine engine({.placement = PlacementKind::kPartitioned}, 4);
  std::set<CoreId> used;
  for (uint64_t flow = 1; flow <= 64; ++flow) {
    const size_t first = engine.Arrive(0us, {.service = 1us, .flow = flow});
    const size_t second =
        engine.Arrive(0us, {.service = 1us, .flow = flow, .from = 2});
    engine.RunUntilIdle();
    EXPECT_EQ(engine.RanOn(first), engine.RanOn(second));
    used.insert(engine.RanOn(first));
  }
  EXPECT_EQ(used.size(), 4u) << "64 flows must spread over all cores";
}

TEST(PlacementTest, PartitionedLeavesOtherCoresIdleAndStealingDoesNot) {
  for (const auto& [kind, expected] :
       {std::pair{PlacementKind::kPartitioned, 20us},
        {PlacementKind::kStealing, 10us}}) {
    TestEngine engine({.placement = kind}, 2);
    engine.Arrive(0us, {.service = 10us, .flow = 5});
    const size_t second = engine.Arrive(0us, {.service = 10us, .flow = 5});
    engine.RunUntilIdle();
    EXPECT_EQ(engine.Sojourn(second), expected) << ToString(kind);
  }
}

TEST(PlacementTest, TwoLevelSendsATaskWhereFewestAreInFlight) {
  TestEngine engine({.placement = PlacementKind::kTwoLevel}, 3);
  std::vector<size_t> jobs;
  for (int i = 0; i < 6; ++i)
    jobs.push_back(engine.Arrive(0us, {.service = 10us, .flow = 5}));
  engine.RunUntilIdle();
  // Two each: the first three at once, the others behind them.
  for (int i = 0; i < 6; ++i)
    EXPECT_EQ(engine.Sojourn(jobs[i]), i < 3 ? 10us : 20us);
}

// Both cores hold two tasks; those of core 1 have had more slices, so they are
// likely to finish sooner.
TEST(PlacementTest, TwoLevelTiesGoToTheMostServicedQuanta) {
  TestEngine engine(
      {.order = "rr", .slice = 2us, .placement = PlacementKind::kTwoLevel}, 2);
  engine.Arrive(0us, {.service = 100us, .flow = 1, .from = 1});  // Core 1.
  engine.Arrive(0us, {.service = 100us, .flow = 1, .from = 0});  // Core 0.
  // Core 1: the caller.
  engine.Arrive(0us, {.service = 100us, .flow = 1, .from = 1});
  // Core 0: fewest.
  engine.Arrive(21us, {.service = 100us, .flow = 1, .from = 1});
  const size_t last =
      engine.Arrive(30us, {.service = 1us, .flow = 1, .from = 0});
  engine.RunUntilIdle();
  EXPECT_EQ(engine.RanOn(last), 1u);
}

// Two threads that yield to each other reach the end of the count in minutes. Their
// core must not keep it when they have left, and win every tie from then on.
TEST(PlacementTest, TwoLevelCountsQuantaNoFurtherThanItCan) {
  const auto placement =
      MakePlacement({.placement = PlacementKind::kTwoLevel, .steal = false}, 2);
  Task busy;
  busy.last_core = 0;
  busy.quanta = UINT32_MAX;
  placement->Enqueue(busy, Wake::kWakeup, 9, 0, {});
  ASSERT_EQ(placement->PickNext(0, {}), &busy);
  ASSERT_EQ(placement->Exchange(busy, Wake::kYield, 0, {}), &busy);
  EXPECT_EQ(busy.quanta, UINT32_MAX);
  placement->Leave(0);
  Task next;
  placement->Enqueue(next, Wake::kArrival, 9, 1, {});
  EXPECT_TRUE(placement->HasWork(1)) << "both are idle, and 1 asked";
}

TEST(PlacementTest, TwoLevelWakesATaskWhereItRan) {
  const auto placement =
      MakePlacement({.placement = PlacementKind::kTwoLevel, .steal = false}, 3);
  Task task;
  task.last_core = 2;
  const Placed placed = placement->Enqueue(task, Wake::kWakeup, 9, 0, {});
  EXPECT_EQ(placed.notify, Notify::kCore);
  EXPECT_EQ(placed.core, 2u);
  EXPECT_EQ(placement->PickNext(0, {}), nullptr);
  EXPECT_TRUE(placement->HasWork(2));
  EXPECT_FALSE(placement->HasWork(1));
  EXPECT_EQ(placement->PickNext(2, {}), &task);
}

TEST(PlacementTest, StealingWakesATaskAtItsWaker) {
  const auto placement =
      MakePlacement({.placement = PlacementKind::kStealing}, 3);
  Task task;
  task.last_core = 2;
  placement->Enqueue(task, Wake::kWakeup, 9, 0, {});
  EXPECT_EQ(placement->PickNext(2, {}), nullptr);
  // Not its own, but it may have it.
  EXPECT_TRUE(placement->HasWork(2));
  EXPECT_EQ(placement->FindWork(2, {}), &task);
  EXPECT_FALSE(placement->HasWork(0));
}

// A core that hands over often between a thief's looks: `running` gives way, but
// is alone.
void GiveWayOften(Placement& placement, Task& running) {
  for (int i = 0; i < 10; ++i)
    ASSERT_EQ(placement.Exchange(running, Wake::kYield, 0, {}), &running);
}

// What the running task has just spawned or woken likely runs there at once, so
// a thief takes it only if the core has picked little between two looks.
TEST(PlacementTest, AnOnlyTaskOfTheRunningOneIsHadAtTheSecondLook) {
  const auto placement =
      MakePlacement({.placement = PlacementKind::kStealing}, 2);
  Task running, first, second;
  placement->Enqueue(running, Wake::kArrival, 0, 0, {});
  ASSERT_EQ(placement->PickNext(0, {}), &running);

  GiveWayOften(*placement, running);
  placement->Enqueue(first, Wake::kWakeup, 0, 0, {});
  EXPECT_EQ(placement->FindWork(1, {}), nullptr);
  EXPECT_TRUE(placement->HasWork(1));
  ASSERT_EQ(placement->PickNext(0, {}), &first);
  GiveWayOften(*placement, first);

  placement->Enqueue(second, Wake::kArrival, 0, 0, {});
  EXPECT_EQ(placement->FindWork(1, {}), nullptr);
  EXPECT_EQ(placement->FindWork(1, {}), &second);
}

TEST(PlacementTest, OneOfTwoTasksOfTheRunningOneIsStolenAtOnce) {
  const auto placement =
      MakePlacement({.placement = PlacementKind::kStealing}, 2);
  Task running, first, second;
  placement->Enqueue(running, Wake::kArrival, 0, 0, {});
  ASSERT_EQ(placement->PickNext(0, {}), &running);
  placement->Enqueue(first, Wake::kWakeup, 0, 0, {});
  placement->Enqueue(second, Wake::kWakeup, 0, 0, {});
  EXPECT_EQ(placement->FindWork(1, {}), &first);
}

// A request that the core's own poller found is ZygOS's case: stolen at once.
TEST(PlacementTest, ARequestFoundBetweenTasksIsStolenAtOnce) {
  const auto placement =
      MakePlacement({.placement = PlacementKind::kStealing}, 2);
  Task running, request;
  placement->Enqueue(running, Wake::kArrival, 0, 0, {});
  ASSERT_EQ(placement->PickNext(0, {}), &running);
  placement->Leave(0);
  placement->Enqueue(request, Wake::kArrival, 0, 0, {});
  EXPECT_EQ(placement->FindWork(1, {}), &request);
}

TEST(PlacementTest, TwoLevelStealsFromTheLongest) {
  const auto placement =
      MakePlacement({.placement = PlacementKind::kTwoLevel, .steal = true}, 3);
  Task tasks[5];
  for (int i = 0; i < 5; ++i) {
    tasks[i].last_core = i < 2 ? 0 : 1;
    placement->Enqueue(tasks[i], Wake::kWakeup, 0, kNoCore, {});
  }
  EXPECT_EQ(placement->FindWork(2, {}), &tasks[2]);
}

// One core whose task wakes another over and over must not hide the next core.
TEST(PlacementTest, ATaskThatIsLeftDoesNotHideAnother) {
  for (const PlacementKind kind :
       {PlacementKind::kStealing, PlacementKind::kTwoLevel}) {
    const auto placement = MakePlacement(
        {.placement = kind, .steal = kind == PlacementKind::kTwoLevel}, 3);
    Task running, woken, other;
    running.last_core = woken.last_core = 0;
    other.last_core = 1;
    placement->Enqueue(running, Wake::kWakeup, 0, 0, {});
    ASSERT_EQ(placement->PickNext(0, {}), &running);
    GiveWayOften(*placement, running);
    placement->Enqueue(woken, Wake::kWakeup, 0, 0, {});
    placement->Enqueue(other, Wake::kWakeup, 0, 1, {});
    EXPECT_EQ(placement->FindWork(2, {}), &other);
  }
}

TEST(PlacementTest, YieldAloneContinuesAndAmongOthersTakesTurns) {
  for (const Kind& kind : Kinds()) {
    SCOPED_TRACE(kind.name);
    Scheduling scheduling = kind.scheduling;
    scheduling.dispatcher = DispatcherKind::kAuto;
    const auto placement = MakePlacement(scheduling, 1);
    Task tasks[2];
    placement->Enqueue(tasks[0], Wake::kArrival, 0, kNoCore, {});
    ASSERT_EQ(placement->PickNext(0, {}), &tasks[0]);
    EXPECT_EQ(placement->Exchange(tasks[0], Wake::kYield, 0, {}), &tasks[0]);
    // On one core a thread that is none of it uses the inbox.
    EXPECT_EQ(
        placement->Enqueue(tasks[1], Wake::kArrival, 0, kNoCore, {}).notify,
        Notify::kCore);
    EXPECT_TRUE(placement->HasWork(0));
    EXPECT_EQ(placement->Exchange(tasks[0], Wake::kYield, 0, {}), &tasks[1]);
    EXPECT_EQ(placement->Exchange(tasks[1], Wake::kYield, 0, {}), &tasks[0]);
  }
}

// JBSQ(k): k tasks to each worker, least filled first, then the dispatcher's own.
TEST(DedicatedTest, FillsSlotsEvenlyAndThenWorksItself) {
  const Scheduling scheduling{.placement = PlacementKind::kCentral,
                              .dispatcher = DispatcherKind::kDedicated,
                              .slots = 2};
  const auto placement = MakePlacement(scheduling, 3);
  Task tasks[6];
  for (Task& task : tasks) {
    const Placed placed =
        placement->Enqueue(task, Wake::kArrival, 0, kNoCore, {});
    EXPECT_EQ(placed.notify, Notify::kCore);
    EXPECT_EQ(placed.core, 0u);
  }
  EXPECT_EQ(placement->PickNext(0, {}), nullptr)
      << "workers have room: they go first";
  for (const CoreId expected : {1, 2, 1, 2}) {
    const Placed placed = placement->Dispatch(0, {});
    ASSERT_EQ(placed.notify, Notify::kCore);
    EXPECT_EQ(placed.core, expected);
  }
  EXPECT_EQ(placement->Dispatch(0, {}).notify, Notify::kNobody);
  EXPECT_EQ(placement->PickNext(0, {}), &tasks[4]) << "all slots are full";

  EXPECT_EQ(placement->PickNext(1, {}), &tasks[0]);
  EXPECT_EQ(placement->Dispatch(0, {}).notify, Notify::kNobody)
      << "it still runs one";
  EXPECT_EQ(placement->PickNext(1, {}), &tasks[2]);
  const Placed placed = placement->Dispatch(0, {});
  EXPECT_EQ(placed.core, 1u);
  EXPECT_EQ(placement->PickNext(1, {}), &tasks[5]);
  EXPECT_FALSE(placement->HasWork(1));
}

// Core 0 is gone for a slice at most, even if the order sets none; for a short one where
// workers have nothing in stock.
TEST(DedicatedTest, TheDispatcherRunsTasksInSlicesOfItsOwn) {
  for (const unsigned slots : {1U, 2U}) {
    const auto placement =
        MakePlacement({.placement = PlacementKind::kCentral,
                       .dispatcher = DispatcherKind::kDedicated,
                       .slots = slots},
                      2);
    const Duration slice = slots == 1 ? 1us : 5us;
    EXPECT_EQ(placement->Slice(Task(), 0), slice);
    EXPECT_EQ(placement->Quantum(0), slice);
    EXPECT_EQ(placement->Quantum(1), kNoPreemption);
  }
}

// Whoever keeps time asks this first: an order with slices of its own counts.
TEST(PlacementTest, QuantumIsTheSliceOrThatOfAnOrderThatSetsIt) {
  for (const unsigned cores : {1u, 2u}) {
    EXPECT_EQ(MakePlacement({.order = "fifo"}, cores)->Quantum(0),
              kNoPreemption);
    EXPECT_EQ(MakePlacement({.order = "fifo", .slice = 5us}, cores)->Quantum(0),
              5us);
    EXPECT_EQ(MakePlacement({.order = "rr"}, cores)->Quantum(0), 20us);
    EXPECT_EQ(MakePlacement({.order = "las"}, cores)->Quantum(0), 20us);
  }
}

TEST(DedicatedTest, StaysAwakeWhileAWorkerHasATask) {
  const auto placement =
      MakePlacement({.placement = PlacementKind::kCentral,
                     .dispatcher = DispatcherKind::kDedicated},
                    2);
  Task task;
  placement->Enqueue(task, Wake::kArrival, 0, 0, {});
  ASSERT_EQ(placement->Dispatch(0, {}).core, 1u);
  EXPECT_EQ(placement->PickNext(1, {}), &task);
  EXPECT_TRUE(placement->HasWork(0));
  placement->Leave(1);
  EXPECT_FALSE(placement->HasWork(0));
}

// A worker's task is preempted only if something waits; then it goes back
// through the dispatcher, and the worker gets what came.
TEST(DedicatedTest, AWorkersTaskGivesWayThroughTheDispatcher) {
  TestEngine engine({.order = "fifo",
                     .slice = 5us,
                     .placement = PlacementKind::kCentral,
                     .dispatcher = DispatcherKind::kDedicated},
                    2);
  const size_t large = engine.Arrive(0us, {.service = 20us});
  const size_t small = engine.Arrive(6us, {.service = 1us});
  engine.RunUntilIdle();
  // The slot is full at 6 us, so the dispatcher runs the small one itself.
  EXPECT_EQ(engine.Sojourn(small), 1us);
  EXPECT_EQ(engine.RanOn(small), 0u);
  EXPECT_EQ(engine.Sojourn(large), 20us);
}

}  // namespace
}  // namespace yamanote::dispatch
