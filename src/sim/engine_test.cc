// engine_test.cc - what costs what, worked out by hand.

#include "sim/engine.h"

#include <gtest/gtest.h>

#include <chrono>

#include "sim/test_source.h"

namespace yamanote::sim {
namespace {

using namespace std::chrono_literals;

struct Outcome {
  SojournLog log;
  uint64_t preemptions = 0;
  uint64_t steals = 0;
  CoreTime time{};
};

Outcome Simulate(const Scheduling& scheduling, unsigned cores,
                 const Costs& costs, std::vector<Arrival> arrivals) {
  Outcome outcome;
  ListedSource source(std::move(arrivals));
  Engine engine({.scheduling = scheduling, .cores = cores, .costs = costs},
                source, outcome.log);
  engine.Run();
  outcome.preemptions = engine.preemptions();
  outcome.steals = engine.steals();
  outcome.time = engine.time();
  return outcome;
}

Scheduling RoundRobin(Duration slice) {
  Scheduling scheduling;
  scheduling.order = "rr";
  scheduling.slice = slice;
  scheduling.dispatcher = DispatcherKind::kShared;
  return scheduling;
}

TEST(EngineTest, RequestsTakeTurnsInSlices) {
  const Outcome outcome =
      Simulate(RoundRobin(5us), 1, {}, {At(0us, 12us), At(1us, 3us)});

  // The short one waits 4 us for the slice to end, and runs 3.
  EXPECT_EQ(outcome.log.Of(1us), 7us);
  EXPECT_EQ(outcome.log.Of(0us), 15us);
  EXPECT_EQ(outcome.preemptions, 1);
}

TEST(EngineTest, NobodyIsPreemptedWhileNothingWaits) {
  const Outcome outcome =
      Simulate(RoundRobin(5us), 1, {}, {At(0us, 100us), At(200us, 100us)});

  EXPECT_EQ(outcome.preemptions, 0);
  EXPECT_EQ(outcome.log.Of(0us), 100us);
}

// It has run for longer than a slice, so it gives way at once.
TEST(EngineTest, WhoseSliceIsOverGivesWayToWhoComes) {
  const Outcome outcome =
      Simulate(RoundRobin(5us), 1, {}, {At(0us, 100us), At(50us, 1us)});

  EXPECT_EQ(outcome.log.Of(50us), 1us);
  EXPECT_EQ(outcome.log.Of(0us), 101us);
  EXPECT_EQ(outcome.preemptions, 1);
}

TEST(EngineTest, AnIdleCoreTakesItBeforeAnybodyIsPreempted) {
  const Outcome outcome =
      Simulate(RoundRobin(5us), 2, {}, {At(0us, 100us), At(50us, 1us)});

  EXPECT_EQ(outcome.log.Of(50us), 1us);
  EXPECT_EQ(outcome.preemptions, 0);
}

TEST(EngineTest, SwitchesAndPreemptionsDelayWhatFollows) {
  const Costs costs{
      .context_switch = 100ns, .preempt_receiver = 1us, .hop = 10ns};
  const Outcome outcome =
      Simulate(RoundRobin(5us), 1, costs, {At(0us, 8us), At(1us, 3us)});

  // The first begins at 0.11 us (it is seen after a hop, and switched to); its slice
  // ends at 5.11, which it sees at 5.121. 1.1 us later the other runs.
  EXPECT_EQ(outcome.log.Of(1us), 5121ns + 1100ns + 3us - 1us);
  // Then a switch, and what is left of the first: 8 us less the 5.011 it has had.
  EXPECT_EQ(outcome.log.Of(0us), 9221ns + 100ns + 2989ns);
  EXPECT_EQ(outcome.time.tasks, 11us);
  EXPECT_EQ(outcome.time.beside, 3 * 100ns + 1us);
}

TEST(EngineTest, TheNetworkTakesTimeOfTheCoreThatRunsTheRequest) {
  Scheduling scheduling;
  const Outcome outcome =
      Simulate(scheduling, 1, {.network = 2us}, {At(0us, 10us), At(1us, 10us)});

  EXPECT_EQ(outcome.log.Of(0us), 12us);
  EXPECT_EQ(outcome.log.Of(1us), 23us);
}

Scheduling Shinjuku() {
  Scheduling scheduling = *FindPreset("shinjuku");
  scheduling.dispatcher = DispatcherKind::kDedicated;
  scheduling.slice = 5us;
  return scheduling;
}

TEST(EngineTest, ADispatcherSendsOneAfterTheOther) {
  const Costs costs{.dispatch = 1us};
  const Outcome outcome = Simulate(
      Shinjuku(), 4, costs, {At(0us, 10us), At(1ns, 10us), At(2ns, 10us)});

  // It begins with the first at once, and with each other when it has sent that.
  EXPECT_EQ(outcome.log.Of(0us), 11us);
  EXPECT_EQ(outcome.log.Of(1ns), 12us - 1ns);
  EXPECT_EQ(outcome.log.Of(2ns), 13us - 2ns);
}

TEST(EngineTest, ADispatcherReceivesOneAfterTheOther) {
  const Costs costs{.network = 1us};
  const Outcome outcome =
      Simulate(Shinjuku(), 4, costs, {At(0us, 10us), At(1ns, 10us)});

  EXPECT_EQ(outcome.log.Of(0us), 11us);
  EXPECT_EQ(outcome.log.Of(1ns), 12us - 1ns);
}

TEST(EngineTest, ADispatcherRunsRequestsOnlyWhenItsWorkersAreFull) {
  const Outcome outcome =
      Simulate(Shinjuku(), 2, {}, {At(0us, 4us), At(1us, 1us), At(2us, 1us)});

  // The worker has the first; core 0 runs the others.
  EXPECT_EQ(outcome.log.Of(0us), 4us);
  EXPECT_EQ(outcome.log.Of(1us), 1us);
  EXPECT_EQ(outcome.log.Of(2us), 1us);
}

// It runs the second itself; what comes meanwhile is received at its next look, not when
// that has ended.
TEST(EngineTest, ADispatcherThatRunsARequestReceivesOthers) {
  const Outcome outcome =
      Simulate(Shinjuku(), 2, {.network = 1us},
               {At(0us, 10us), At(1us, 500us), At(50us, 1us), At(60us, 1us)});

  EXPECT_LT(outcome.log.Of(50us), 10us);
  EXPECT_LT(outcome.log.Of(60us), 10us);
}

TEST(EngineTest, ADispatchersWorkersGiveWay) {
  Scheduling scheduling = Shinjuku();
  const Costs costs{.preempt_sender = 1us};
  const Outcome outcome = Simulate(
      scheduling, 2, costs, {At(0us, 100us), At(1us, 100us), At(50us, 1us)});

  EXPECT_LT(outcome.log.Of(50us), 10us);
  EXPECT_GE(outcome.preemptions, 1);
}

TEST(EngineTest, AnIdleCoreStealsAtACost) {
  Scheduling scheduling = *FindPreset("zygos");
  Arrival first = At(0us, 10us);
  Arrival second = At(1us, 10us);
  first.flow = second.flow = 1;  // The same home.
  const Outcome outcome =
      Simulate(scheduling, 2, {.steal = 1us}, {first, second});

  EXPECT_EQ(outcome.log.Of(1us), 11us);
  EXPECT_EQ(outcome.steals, 1);
}

TEST(EngineTest, PartitionedWorkStaysWhereItsConnectionIs) {
  Scheduling scheduling = *FindPreset("ix");
  Arrival first = At(0us, 10us);
  Arrival second = At(1us, 10us);
  first.flow = second.flow = 1;
  const Outcome outcome = Simulate(scheduling, 2, {}, {first, second});

  EXPECT_EQ(outcome.log.Of(1us), 19us);
}

TEST(EngineTest, WhoIsNotAdmittedIsRefused) {
  Scheduling scheduling;
  scheduling.classes = {{.name = "one", .limit = 2}};
  const Outcome outcome =
      Simulate(scheduling, 1, {},
               {At(0us, 10us), At(1us, 10us), At(2us, 10us), At(11us, 1us)});

  ASSERT_EQ(outcome.log.refused.size(), 1U);
  EXPECT_EQ(outcome.log.refused[0], 2us);
  EXPECT_EQ(outcome.log.Of(11us), 10us);
}

// The same requests give the same run.
TEST(EngineTest, IsDeterministic) {
  const auto run = [](const PresetInfo& preset) {
    Scheduling scheduling = preset.scheduling;
    SojournLog log;
    PoissonSource source(1.0 / 1500, 20'000, 7, Bimodal(5us, 100us, 0.01));
    Engine engine({.scheduling = scheduling,
                   .cores = 5,
                   .costs = {.context_switch = 50ns, .hop = 100ns}},
                  source, log);
    engine.Run();
    return std::move(log.order);
  };
  for (const PresetInfo& preset : Presets())
    EXPECT_EQ(run(preset), run(preset)) << preset.name;
}

}  // namespace
}  // namespace yamanote::sim
