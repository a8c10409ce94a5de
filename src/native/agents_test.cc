// agents_test.cc - the agents run every policy on a kernel that races with them.
//
// A failure prints the seed and the command that replays it.
//
//   YAMANOTE_SEED=N    only this seed
//   YAMANOTE_SEEDS=N   seeds 1 .. N (default 8)

#include "native/agents.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "native/model.h"
#include "native/test_threads.h"

namespace yamanote::native {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

Script RunsFor(Duration time, Instant* ended = nullptr) {
  return [time, ended, ran = false](Instant now) mutable -> Action {
    if (!std::exchange(ran, true))
      return {.kind = Action::Kind::kRun, .time = time};
    if (ended != nullptr) *ended = now;
    return {};
  };
}

AgentOptions Options(PlacementKind placement, std::string order = "fifo",
                     SliceRange slice = {}) {
  AgentOptions options;
  options.scheduling.order = std::move(order);
  options.scheduling.slice = slice;
  options.scheduling.placement = placement;
  return options;
}

std::unique_ptr<Agents> Start(ModelKernel& kernel,
                              const AgentOptions& options) {
  Result<std::unique_ptr<Agents>> agents =
      Agents::Create(kernel, options, kernel.now());
  if (!agents) {
    ADD_FAILURE() << agents.error().message;
    std::abort();
  }
  kernel.Attach(agents->get());
  return *std::move(agents);
}

// ---- One thing at a time ----------------------------------------------------

TEST(AgentsTest, FirstComeFirstServed) {
  ModelKernel kernel({.cores = 1});
  const auto agents = Start(kernel, Options(PlacementKind::kCentral));
  Instant ended[3];
  for (Instant& end : ended) kernel.Spawn(RunsFor(1ms, &end));
  ASSERT_TRUE(kernel.RunUntilAllEnd(At(1s)));
  EXPECT_LT(ended[0], At(1ms + 50us));
  EXPECT_LT(ended[1], At(2ms + 50us));
  EXPECT_GT(ended[1], At(2ms));
  EXPECT_GT(ended[2], At(3ms));
}

// With a slice, a long thread must not hold up a short one behind it.
TEST(AgentsTest, ASliceBoundsHeadOfLineBlocking) {
  for (const PlacementKind placement :
       {PlacementKind::kCentral, PlacementKind::kStealing}) {
    ModelKernel kernel({.cores = 1});
    const auto agents = Start(kernel, Options(placement, "rr", 100us));
    Instant ended[2];
    kernel.Spawn(RunsFor(10ms, &ended[0]));
    kernel.RunUntil(At(20us));
    kernel.Spawn(RunsFor(10us, &ended[1]));
    ASSERT_TRUE(kernel.RunUntilAllEnd(At(1s)));
    EXPECT_LT(ended[1], At(150us)) << ToString(placement);
    EXPECT_LT(ended[0], At(10ms + 200us)) << ToString(placement);
  }
}

// Nothing waits, so nobody is preempted.
TEST(AgentsTest, AThreadAloneIsNotDisturbed) {
  ModelKernel kernel({.cores = 2});
  const auto agents =
      Start(kernel, Options(PlacementKind::kCentral, "rr", 100us));
  kernel.Spawn(RunsFor(50ms));
  ASSERT_TRUE(kernel.RunUntilAllEnd(At(1s)));
  EXPECT_EQ(kernel.counts().switches, 1u);
  EXPECT_LT(kernel.counts().passes, 20u);
}

TEST(AgentsTest, WorkSpreadsOverTheCores) {
  for (const PlacementKind placement :
       {PlacementKind::kCentral, PlacementKind::kStealing}) {
    ModelKernel kernel({.cores = 4});
    const auto agents = Start(kernel, Options(placement));
    for (int i = 0; i < 4; ++i) kernel.Spawn(RunsFor(10ms));
    ASSERT_TRUE(kernel.RunUntilAllEnd(At(10ms + 100us)))
        << ToString(placement) << ": " << kernel.threads() << " are left";
  }
}

// Affinity is the mechanism's business; no policy knows of it.
TEST(AgentsTest, AThreadRunsOnlyWhereItMay) {
  for (const PlacementKind placement :
       {PlacementKind::kCentral, PlacementKind::kStealing}) {
    ModelKernel kernel({.cores = 3});
    const auto agents = Start(kernel, Options(placement, "rr", 200us));
    for (CoreId core = 0; core < 3; ++core) {
      for (int i = 0; i < 3; ++i) {
        kernel.Spawn([core, step = 0](Instant) mutable -> Action {
          switch (step++) {
            case 0:
              return {.kind = Action::Kind::kAffinity, .cores = {core}};
            case 1:
              return {.kind = Action::Kind::kRun, .time = 1ms};
            default:
              return {};
          }
        });
      }
    }
    // The model itself checks where each runs.
    ASSERT_TRUE(kernel.RunUntilAllEnd(At(4ms)))
        << ToString(placement) << ": " << kernel.threads() << " are left";
  }
}

TEST(AgentsTest, WhatAHigherClassTakesGoesOnElsewhere) {
  for (const PlacementKind placement :
       {PlacementKind::kCentral, PlacementKind::kStealing}) {
    ModelKernel kernel({.cores = 2});
    const auto agents = Start(kernel, Options(placement));
    kernel.Spawn(RunsFor(1ms));
    kernel.Occupy(0, At(100us), 10ms);
    kernel.Occupy(1, At(10200us), 10ms);
    ASSERT_TRUE(kernel.RunUntilAllEnd(At(2ms))) << ToString(placement);
    kernel.RunUntil(At(10300us));
    kernel.Spawn(RunsFor(1ms));
    ASSERT_TRUE(kernel.RunUntilAllEnd(At(12ms))) << ToString(placement);
  }
}

// ghOSt's hot hand-off: the polling agent leaves the core that somebody else wants.
TEST(AgentsTest, TheGlobalAgentStandsAside) {
  ModelKernel kernel({.cores = 4, .agent_polls = true});
  AgentOptions options = Options(PlacementKind::kCentral);
  options.own_core = true;
  CoreId asked_from = kNoCore;
  options.nearest = [&](CoreId from, const base::CoreSet& among) {
    asked_from = from;
    EXPECT_TRUE(among.Contains(3));
    return CoreId{3};
  };
  const auto agents = Start(kernel, options);
  EXPECT_THAT(agents->Where(), testing::ElementsAre(0));
  kernel.Occupy(0, At(1ms), 1ms);
  for (int i = 0; i < 4; ++i) kernel.Spawn(RunsFor(4ms));
  kernel.RunUntil(At(1500us));
  EXPECT_THAT(agents->Where(), testing::ElementsAre(3));
  EXPECT_EQ(asked_from, 0u);
  kernel.RunUntil(At(2500us));
  // Three threads run, the fourth's core is the agent's.
  ASSERT_TRUE(kernel.RunUntilAllEnd(At(10ms)));
}

// One that comes makes one give way, not all whose slices are over.
TEST(AgentsTest, OneArrivalPreemptsOne) {
  ModelKernel kernel({.cores = 8});
  const auto agents =
      Start(kernel, Options(PlacementKind::kCentral, "rr", 1ms));
  for (int i = 0; i < 8; ++i) kernel.Spawn(RunsFor(20ms));
  kernel.RunUntil(At(5ms));
  const uint64_t before = kernel.counts().switches;
  kernel.Spawn(RunsFor(10us));
  kernel.RunUntil(At(5ms + 900us));
  // It, and the one that it displaced, which finds its core free again.
  EXPECT_EQ(kernel.counts().switches - before, 2u);
}

TEST(AgentsTest, WhatCannotBeIsRefused) {
  ModelKernel kernel({.cores = 2});
  const auto error = [&](const AgentOptions& options) {
    const auto agents = Agents::Create(kernel, options, kernel.now());
    return agents ? "none" : agents.error().message;
  };
  AgentOptions options = Options(PlacementKind::kCentral, "rr", kAdaptiveSlice);
  EXPECT_THAT(error(options), HasSubstr("slice is 'adaptive'"));
  options = Options(PlacementKind::kPartitioned);
  EXPECT_THAT(error(options), HasSubstr("placement is 'partitioned'"));
  options = Options(PlacementKind::kTwoLevel);
  EXPECT_THAT(error(options), HasSubstr("placement is 'two-level'"));
  options = Options(PlacementKind::kCentral, "no-such");
  EXPECT_THAT(error(options), HasSubstr("no-such"));
  options = Options(PlacementKind::kCentral);
  options.queue_capacity = 0;
  EXPECT_THAT(error(options), HasSubstr("queue_capacity is 0"));
  ModelKernel one({.cores = 1});
  options = Options(PlacementKind::kCentral);
  options.own_core = true;
  const auto agents = Agents::Create(one, options, one.now());
  ASSERT_FALSE(agents);
  EXPECT_THAT(agents.error().message, HasSubstr("own_core"));
  // Every agent would poll where threads are to run.
  options = Options(PlacementKind::kStealing);
  options.own_core = true;
  EXPECT_THAT(error(options), HasSubstr("placement 'stealing'"));
}

// ---- Everything at once -----------------------------------------------------

// What threads do at random: all that a thread can.
class Storm {
 public:
  Storm(uint64_t seed, unsigned cores) : random_(seed, 7), cores_(cores) {}

  Script Thread(bool pins) {
    return [this, pins, left = 3 + random_.Below(20)](Instant) mutable {
      return left-- == 0 ? Action{} : Next(pins);
    };
  }

 private:
  Action Next(bool pins) {
    const uint64_t dice = random_.Below(100);
    if (dice < 45) {
      return {
          .kind = Action::Kind::kRun,
          .time = Duration(
              1 + random_.Below(random_.Below(10) == 0 ? 2'000'000 : 50'000))};
    }
    if (dice < 80) {
      return {.kind = Action::Kind::kBlock,
              .time = Duration(1 + random_.Below(100'000))};
    }
    if (dice < 88) return {.kind = Action::Kind::kYield};
    if (dice < 92) {
      return {.kind = Action::Kind::kWeight,
              .weight = static_cast<uint16_t>(1 + random_.Below(100))};
    }
    if (dice < 97 && pins) {
      Action action{.kind = Action::Kind::kAffinity};
      for (CoreId core = 0; core < cores_; ++core)
        if (random_.Below(2) == 0) action.cores.push_back(core);
      return action;
    }
    if (dice < 98) return {.kind = Action::Kind::kDepart};
    return {.kind = Action::Kind::kRun, .time = Duration(1000)};
  }

  base::Random random_;
  const unsigned cores_;
};

struct Case {
  const PolicyInfo* order;
  PlacementKind placement;
  bool own_core;
};

std::vector<Case> Cases() {
  std::vector<Case> cases;
  for (const PolicyInfo* const order : Policies()) {
    cases.push_back({order, PlacementKind::kCentral, false});
    cases.push_back({order, PlacementKind::kCentral, true});
    if (!order->work_conserving) continue;
    cases.push_back({order, PlacementKind::kStealing, false});
  }
  return cases;
}

std::string NameOf(const testing::TestParamInfo<Case>& info) {
  std::string name(info.param.order->name);
  name += "_" + std::string(ToString(info.param.placement));
  if (info.param.own_core) name += "_own";
  std::ranges::replace(name, '-', '_');
  return name;
}

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.order->name << ' ' << ToString(c.placement)
       << (c.own_core ? " own core" : "");
}

std::vector<uint64_t> Seeds(uint64_t usual) {
  if (const char* const one = std::getenv("YAMANOTE_SEED"))
    return {std::strtoull(one, nullptr, 10)};
  if (const char* const many = std::getenv("YAMANOTE_SEEDS"))
    usual = std::strtoull(many, nullptr, 10);
  std::vector<uint64_t> seeds;
  for (uint64_t seed = 1; seed <= usual; ++seed) seeds.push_back(seed);
  return seeds;
}

class StormTest : public testing::TestWithParam<Case> {
 protected:
  AgentOptions OptionsFor(base::Random& random) const {
    AgentOptions options =
        Options(GetParam().placement, std::string(GetParam().order->name));
    if (random.Below(3) != 0)
      options.scheduling.slice = Duration(20'000 + random.Below(500'000));
    options.own_core = GetParam().own_core;
    // Small enough to run over now and then.
    options.queue_capacity = random.Below(4) == 0 ? 4 : 16384;
    options.locality = {{0, 0}, {0, 0}, {1, 0}, {1, 0}, {2, 1}, {2, 1}};
    if (random.Below(2) == 0)
      options.scheduling.classes = {{.budget = 200us, .period = 1ms}};
    return options;
  }

  static ModelKernel::Options Machine(base::Random& random, uint64_t seed,
                                      bool own_core) {
    return {.cores = 2 + static_cast<unsigned>(random.Below(5)),
            .max_threads = 64,
            .agent_polls = own_core,
            .early_messages = random.Below(2) == 0
                                  ? 0
                                  : static_cast<unsigned>(random.Below(500)),
            .jitter = static_cast<unsigned>(random.Below(3000)),
            .seed = seed,
            .watchdog = 200ms,
            .tick = random.Below(2) == 0 ? kNoPreemption : Duration(4ms)};
  }

  // New threads until `end`, and a higher class that takes cores.
  static void Rage(ModelKernel& kernel, Storm& storm, base::Random& random,
                   Instant end, bool pins) {
    while (kernel.now() < end) {
      if (kernel.threads() < 40) kernel.Spawn(storm.Thread(pins));
      if (random.Below(30) == 0) {
        kernel.Occupy(static_cast<CoreId>(random.Below(kernel.cores())),
                      kernel.now() + Duration(random.Below(100'000)),
                      Duration(1 + random.Below(1'000'000)));
      }
      kernel.RunUntil(kernel.now() + Duration(random.Below(60'000)));
    }
  }
};

// Nothing is lost: every thread ends, and the watchdog has nothing to do.
TEST_P(StormTest, EveryThreadIsRunToItsEnd) {
  for (const uint64_t seed : Seeds(8)) {
    SCOPED_TRACE("YAMANOTE_SEED=" + std::to_string(seed));
    base::Random random(seed);
    ModelKernel kernel(Machine(random, seed, GetParam().own_core));
    Storm storm(seed, kernel.cores());
    const auto agents = Start(kernel, OptionsFor(random));
    Rage(kernel, storm, random, At(10ms), random.Below(2) == 0);
    ASSERT_TRUE(kernel.RunUntilAllEnd(At(2s)))
        << kernel.threads() << " threads are left, " << kernel.reason();
    ASSERT_FALSE(kernel.destroyed()) << kernel.reason();
  }
}

// Wherever an agent dies, those that come after it find everything; without any the
// kernel's scheduler goes on.
TEST_P(StormTest, AnAgentMayDieAtAnyStep) {
  for (const uint64_t seed : Seeds(8)) {
    SCOPED_TRACE("YAMANOTE_SEED=" + std::to_string(seed));
    base::Random random(seed, 2);
    ModelKernel::Options machine = Machine(random, seed, GetParam().own_core);
    machine.crash_at = 1 + random.Below(3000);
    ModelKernel kernel(machine);
    Storm storm(seed, kernel.cores());
    auto agents = Start(kernel, OptionsFor(random));
    Rage(kernel, storm, random, At(10ms), true);
    const bool successor = random.Below(2) == 0;
    if (kernel.crashed() && successor && !kernel.destroyed()) {
      agents.reset();
      agents = Start(kernel, OptionsFor(random));
      Rage(kernel, storm, random, kernel.now() + 5ms, true);
    }
    ASSERT_TRUE(kernel.RunUntilAllEnd(At(5s)))
        << kernel.threads() << " threads are left";
    if (kernel.crashed() && !successor && kernel.destroyed()) {
      EXPECT_THAT(kernel.reason(), HasSubstr("no agent"));
    }
  }
}

// Agents of other policies take over while threads run, wait and block.
TEST_P(StormTest, AgentsAreUpgradedUnderLoad) {
  for (const uint64_t seed : Seeds(4)) {
    SCOPED_TRACE("YAMANOTE_SEED=" + std::to_string(seed));
    base::Random random(seed, 3);
    ModelKernel kernel(Machine(random, seed, GetParam().own_core));
    Storm storm(seed, kernel.cores());
    auto agents = Start(kernel, OptionsFor(random));
    for (int i = 0; i < 6; ++i) {
      Rage(kernel, storm, random, kernel.now() + 2ms, true);
      agents.reset();
      Rage(kernel, storm, random, kernel.now() + 100us, true);
      agents = Start(kernel, OptionsFor(random));
    }
    ASSERT_TRUE(kernel.RunUntilAllEnd(At(5s)))
        << kernel.threads() << " threads are left";
    ASSERT_FALSE(kernel.destroyed()) << kernel.reason();
  }
}

INSTANTIATE_TEST_SUITE_P(All, StormTest, testing::ValuesIn(Cases()), NameOf);

}  // namespace
}  // namespace yamanote::native
