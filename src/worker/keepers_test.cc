// keepers_test.cc - slices end although no core is idle and awake: whoever there is
// keeps time.
//
// Tasks hand a turn on to each other by spinning, so many thousand times that the
// kernel's tick, which ends a slice every 8 ms, would take longer than the test may.

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <utility>

#include "base/under_tsan.h"
#include "dispatch/flow.h"
#include "worker/engine.h"
#include "worker/spawn.h"
#include "yamanote/preempt.h"
#include "yamanote/runtime.h"
#include "yamanote/thread.h"

namespace yamanote::worker {
namespace {

using namespace std::chrono_literals;

constexpr int kTurns = 15'000;

struct Turns {
  int players = 0;
  std::atomic<int> turn{0};
  std::atomic<int> seats{0};
  std::atomic<int> left{0};
  int64_t rounds = 0;  // Of the player that counts them.

  bool over() const { return turn >= kTurns; }
};

void Play(void* argument) {
  auto& turns = *static_cast<Turns*>(argument);
  const int seat = turns.seats++;
  while (!turns.over()) {
    if (turns.turn % turns.players == seat) ++turns.turn;
    Probe();
  }
  ++turns.left;
}

void YieldMeanwhile(void* argument) {
  auto& turns = *static_cast<Turns*>(argument);
  while (!turns.over()) this_thread::yield();
  ++turns.left;
}

// One of the turns is played by a task that keeps its own time.
void PlayChecking(void* argument) {
  auto& turns = *static_cast<Turns*>(argument);
  const int seat = turns.seats++;
  while (!turns.over()) {
    if (turns.turn % turns.players == seat) ++turns.turn;
    CheckPreempt();
  }
  ++turns.left;
}

// It has a voluntary point, and then none for long.
void PlayAfterAVoluntaryPoint(void* argument) {
  CheckPreempt();
  Play(argument);
}

// The even turns, in one long task.
void PlayAndCount(void* argument) {
  auto& turns = *static_cast<Turns*>(argument);
  for (; !turns.over(); ++turns.rounds) {
    if (turns.turn % 2 == 0) ++turns.turn;
    Probe();
  }
  ++turns.left;
}

// The odd turns, in short tasks one after another.
void PlayInShortTasks(void* argument) {
  auto& turns = *static_cast<Turns*>(argument);
  if (turns.over()) {
    ++turns.left;
    return;
  }
  if (turns.turn % 2 == 1) ++turns.turn;
  ASSERT_TRUE(Spawn({}, &PlayInShortTasks, &turns));
}

std::unique_ptr<Runtime> Make(Scheduling scheduling, unsigned cores = 2,
                              SliceRange slice = 5us) {
  scheduling.order = "rr";
  scheduling.slice = slice;
  return Runtime::Create({.cores = cores,
                          .pin = false,
                          .scheduling = std::move(scheduling),
                          .spin = 0us})
      .value();
}

uint64_t FlowOf(CoreId core) {
  uint64_t flow = 1;
  while (dispatch::HomeOfFlow(flow, 2) != core) ++flow;
  return flow;
}

void Start(void (*entry)(void*), CoreId core, Turns& turns) {
  ASSERT_TRUE(Spawn({.flow = FlowOf(core)}, entry, &turns));
}

// Returns when all have left, which is long before the runtime ends.
void WaitFor(Runtime& runtime, Turns& turns, int tasks) {
  runtime.Run([&] {
    while (turns.left < tasks) this_thread::sleep_for(1ms);
  });
  EXPECT_GE(runtime.stats().preemptions, uint64_t{kTurns} / 2);
}

TEST(KeepersTest, AnIdleCoreDoesNotSleepWhileItIsNeeded) {
  const auto runtime = Make({.placement = PlacementKind::kPartitioned});
  Turns turns{.players = 2};
  for (int i = 0; i < 2; ++i) Start(&Play, 1, turns);
  WaitFor(*runtime, turns, 2);
}

TEST(KeepersTest, ABusyCoreKeepsTimeBetweenTasks) {
  const auto runtime = Make({.placement = PlacementKind::kPartitioned});
  Turns turns{.players = 2};
  for (int i = 0; i < 2; ++i) Start(&Play, 1, turns);
  for (int i = 0; i < 2; ++i) Start(&YieldMeanwhile, 0, turns);
  WaitFor(*runtime, turns, 4);
}

TEST(KeepersTest, ADispatcherThatRunsATaskKeepsTimeForItToo) {
  const auto runtime = Make({.placement = PlacementKind::kCentral,
                             .dispatcher = DispatcherKind::kDedicated});
  Turns turns{.players = 3};
  for (int i = 0; i < 3; ++i) Start(&Play, 0, turns);
  WaitFor(*runtime, turns, 3);
}

// The kernel's tick finds a task that has run for longer than a slice; from then on
// the core's tasks read the clock at their probes.
TEST(KeepersTest, ASingleCoreAsksItself) {
  if (YAMANOTE_UNDER_TSAN) GTEST_SKIP() << "ThreadSanitizer delays signals";
  const auto runtime = Make({}, 1);
  Turns turns{.players = 2};
  for (int i = 0; i < 2; ++i) Start(&Play, 0, turns);
  WaitFor(*runtime, turns, 2);
}

// They begin at 16 us, eight times the least.
TEST(KeepersTest, ASingleCoreAsksItselfWithAdaptiveSlicesToo) {
  if (YAMANOTE_UNDER_TSAN) GTEST_SKIP() << "ThreadSanitizer delays signals";
  const auto runtime = Make({}, 1, kAdaptiveSlice);
  Turns turns{.players = 2};
  for (int i = 0; i < 2; ++i) Start(&Play, 0, turns);
  WaitFor(*runtime, turns, 2);
}

// A long task is cut, and many short ones go before it goes on: it is cut again.
TEST(KeepersTest, ALongTaskIsAskedAfterManyShortOnes) {
  if (YAMANOTE_UNDER_TSAN) GTEST_SKIP() << "ThreadSanitizer delays signals";
  const auto runtime =
      Runtime::Create({.cores = 1,
                       .pin = false,
                       .scheduling = {.order = "mlfq", .slice = 5us},
                       .spin = 0us})
          .value();
  Turns turns{.players = 2};
  Start(&PlayAndCount, 0, turns);
  Start(&PlayInShortTasks, 0, turns);
  WaitFor(*runtime, turns, 2);
  // A slice has 5,000 at most; from tick to tick they are hundreds of thousands.
  EXPECT_LE(turns.rounds / (kTurns / 2), 40'000);
}

TEST(KeepersTest, ATaskThatKeepsItsOwnTimeTakesNobodyElsesAway) {
  if (YAMANOTE_UNDER_TSAN) GTEST_SKIP() << "ThreadSanitizer delays signals";
  const auto runtime = Make({}, 1);
  Turns turns{.players = 3};
  Start(&PlayChecking, 0, turns);
  for (int i = 0; i < 2; ++i) Start(&Play, 0, turns);
  WaitFor(*runtime, turns, 3);
}

TEST(KeepersTest, AVoluntaryPointIsNotTheLastWord) {
  if (YAMANOTE_UNDER_TSAN) GTEST_SKIP() << "ThreadSanitizer delays signals";
  const auto runtime = Make({}, 1);
  Turns turns{.players = 2};
  for (int i = 0; i < 2; ++i) Start(&PlayAfterAVoluntaryPoint, 0, turns);
  WaitFor(*runtime, turns, 2);
}

// Two cores with players each, so that neither is ever idle.
TEST(KeepersTest, CoresThatAreAllBusyAskThemselves) {
  if (YAMANOTE_UNDER_TSAN) GTEST_SKIP() << "ThreadSanitizer delays signals";
  const auto runtime = Make({.placement = PlacementKind::kPartitioned});
  Turns turns[2] = {{.players = 2}, {.players = 2}};
  for (CoreId core = 0; core < 2; ++core) {
    for (int i = 0; i < 2; ++i) Start(&Play, core, turns[core]);
  }
  for (Turns& each : turns) WaitFor(*runtime, each, 2);
}

}  // namespace
}  // namespace yamanote::worker
