// core_scheduling_test.cc - siblings never run two trust domains, and every domain has its
// turn. The model looks at each step.
//
//   YAMANOTE_SEED=N    only this seed
//   YAMANOTE_SEEDS=N   seeds 1 .. N (default 8)

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "native/agents.h"
#include "native/model.h"
#include "native/model_crash.h"
#include "native/test_threads.h"

namespace yamanote::native {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

// Siblings in pairs; with an odd number the last core has none.
std::vector<uint32_t> Pairs(unsigned cores) {
  std::vector<uint32_t> siblings;
  for (unsigned core = 0; core < cores; ++core) siblings.push_back(core / 2);
  return siblings;
}

AgentOptions Apart(const ModelKernel& kernel, std::string order = "fifo",
                   SliceRange slice = {}) {
  AgentOptions options;
  options.scheduling.order = std::move(order);
  options.scheduling.slice = slice;
  options.scheduling.placement = PlacementKind::kCentral;
  options.core_scheduling = true;
  options.siblings = Pairs(kernel.cores());
  options.trust = [&kernel](int32_t tid) { return kernel.DomainOf(tid); };
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

ModelKernel::Options Machine(unsigned cores) {
  return {.cores = cores, .siblings = Pairs(cores)};
}

// Runs for `time`, then notes when.
Script RunsUntil(Duration time, Instant& ended) {
  return [time, &ended, ran = false](Instant now) mutable -> Action {
    if (!std::exchange(ran, true)) return Runs(time);
    ended = now;
    return {};
  };
}

// Runs for `time` and blocks for `pause`, for ever.
Script Repeats(Duration time, Duration pause) {
  return [=, runs = false](Instant) mutable {
    runs = !runs;
    return runs ? Runs(time) : Blocks(pause);
  };
}

// ---- One thing at a time ----------------------------------------------------

// Four threads of two domains on one core's siblings: two by two, not one by one.
TEST(CoreSchedulingTest, SiblingsRunOneDomainAndBothOfThem) {
  ModelKernel kernel(Machine(2));
  const auto agents = Start(kernel, Apart(kernel));
  for (const uint64_t domain : {1, 2, 1, 2})
    kernel.Spawn(Does({Runs(1ms)}), domain);
  ASSERT_TRUE(kernel.RunUntilAllEnd(At(2ms + 100us)))
      << kernel.threads() << " are left";
  EXPECT_EQ(kernel.violation(), "");
  EXPECT_LT(agents->ForcedIdle(), 100us);
}

// The other sibling is left idle rather than given away, and that is counted.
TEST(CoreSchedulingTest, ASiblingIdlesWhereNobodyMayRunBeside) {
  ModelKernel kernel(Machine(2));
  const auto agents = Start(kernel, Apart(kernel));
  Instant ended[2];
  kernel.Spawn(RunsUntil(1ms, ended[0]), 1);
  kernel.Spawn(RunsUntil(1ms, ended[1]), 2);
  ASSERT_TRUE(kernel.RunUntilAllEnd(At(3ms)));
  EXPECT_EQ(kernel.violation(), "");
  EXPECT_GT(ended[1], At(2ms));
  EXPECT_GT(agents->ForcedIdle(), 950us);
  EXPECT_LT(agents->ForcedIdle(), 1050us);
}

// What has no siblings is shared freely, and two cores are two domains'.
TEST(CoreSchedulingTest, OtherCoresAreOtherDomains) {
  ModelKernel kernel(Machine(3));
  const auto agents = Start(kernel, Apart(kernel));
  kernel.Spawn(Does({Runs(5ms)}), 1);
  kernel.Spawn(Does({Runs(5ms)}), 2);
  ASSERT_TRUE(kernel.RunUntilAllEnd(At(5ms + 100us)));
  kernel.Spawn(Does({Runs(5ms)}), 3);
  for (int i = 0; i < 2; ++i) kernel.Spawn(Does({Runs(5ms)}), 4);
  ASSERT_TRUE(kernel.RunUntilAllEnd(At(15ms + 200us)));
  EXPECT_EQ(kernel.violation(), "");
}

// One domain alone is scheduled exactly as without: it costs nothing.
TEST(CoreSchedulingTest, OneDomainIsScheduledAsWithout) {
  for (const PolicyInfo* const order : Policies()) {
    Instant ended[2];
    uint64_t switches[2];
    for (const bool apart : {false, true}) {
      ModelKernel kernel(Machine(4));
      AgentOptions options = Apart(kernel, std::string(order->name), 200us);
      options.core_scheduling = apart;
      const auto agents = Start(kernel, options);
      for (int i = 0; i < 12; ++i) {
        kernel.Spawn(Does({Runs(Duration(300'000 + i * 7'000)),
                           Blocks(Duration(i * 90'000 + 1)), Runs(1ms)}),
                     7);
      }
      ASSERT_TRUE(kernel.RunUntilAllEnd(At(1s))) << order->name;
      ended[apart] = kernel.now();
      switches[apart] = kernel.counts().switches;
      EXPECT_EQ(kernel.counts().vacated, 0u) << order->name;
    }
    EXPECT_EQ(ended[0], ended[1]) << order->name;
    EXPECT_EQ(switches[0], switches[1]) << order->name;
  }
}

// With slices domains take turns by slice: one thread among eight of another domain's has
// not to wait until they end.
TEST(CoreSchedulingTest, DomainsTakeTurnsBySlices) {
  ModelKernel kernel(Machine(2));
  const auto agents = Start(kernel, Apart(kernel, "rr", 100us));
  Instant ended;
  for (int i = 0; i < 8; ++i) kernel.Spawn(Does({Runs(10ms)}), 1);
  kernel.RunUntil(At(1ms));
  kernel.Spawn(RunsUntil(1ms, ended), 2);
  ASSERT_TRUE(kernel.RunUntilAllEnd(At(100ms)));
  EXPECT_EQ(kernel.violation(), "");
  // Ten slices, each after one of each of four pairs at most.
  EXPECT_LT(ended, At(1ms + 10 * 5 * 130us));
}

// Without slices, too: one sibling never is free, and the other one often.
TEST(CoreSchedulingTest, WithoutSlicesADomainsTurnIsBounded) {
  ModelKernel kernel(Machine(2));
  const auto agents = Start(kernel, Apart(kernel));
  Instant ended;
  kernel.Spawn(Does({Runs(10s)}), 1);
  for (int i = 0; i < 3; ++i) kernel.Spawn(Repeats(100us, 20us), 1);
  kernel.RunUntil(At(1ms));
  kernel.Spawn(RunsUntil(1ms, ended), 2);
  kernel.RunUntil(At(50ms));
  EXPECT_EQ(kernel.violation(), "");
  EXPECT_GT(ended, At(kDomainTurn));
  EXPECT_LT(ended, At(kDomainTurn + 1ms + 200us));
}

// A domain with many threads and one with few share a core's time; none has all of it.
TEST(CoreSchedulingTest, NoDomainIsStarvedByAnyOrder) {
  for (const PolicyInfo* const order : Policies()) {
    if (!order->starves.empty()) continue;
    for (const SliceRange slice : {SliceRange{}, SliceRange{200us}}) {
      ModelKernel kernel(Machine(4));
      const auto agents =
          Start(kernel, Apart(kernel, std::string(order->name), slice));
      for (int i = 0; i < 12; ++i) kernel.Spawn(Repeats(150us, 10us), 1);
      std::vector<Instant> ended(3);
      for (uint64_t i = 0; i < 3; ++i)
        kernel.Spawn(RunsUntil(3ms, ended[i]), 2 + i);
      kernel.RunUntil(At(200ms));
      EXPECT_EQ(kernel.violation(), "") << order->name;
      for (const Instant end : ended) EXPECT_NE(end, Instant()) << order->name;
    }
  }
}

// Agents that knew no domains have left two on one core: one of them is taken off.
TEST(CoreSchedulingTest, WhatRanTogetherIsPartedAtAnUpgrade) {
  ModelKernel kernel(Machine(4));
  AgentOptions options = Apart(kernel);
  options.core_scheduling = false;
  auto agents = Start(kernel, options);
  for (const uint64_t domain : {1, 2, 3, 3})
    kernel.Spawn(Does({Runs(5ms)}), domain);
  kernel.RunUntil(At(1ms));
  EXPECT_THAT(kernel.violation(), HasSubstr("trust domain 1"));
  agents.reset();
  agents = Start(kernel, Apart(kernel));
  kernel.RunUntil(At(1ms + 50us));
  const uint64_t before = kernel.counts().violations;
  const uint64_t vacated = kernel.counts().vacated;
  EXPECT_EQ(vacated, 2u);  // Those of one domain run on.
  ASSERT_TRUE(kernel.RunUntilAllEnd(At(20ms)));
  EXPECT_EQ(kernel.counts().violations, before);
}

TEST(CoreSchedulingTest, WhatCannotBeIsRefused) {
  class Unable final : public ModelKernel {
   public:
    using ModelKernel::ModelKernel;
    std::string_view WhyNoCoreScheduling() const override {
      return Kernel::WhyNoCoreScheduling();
    }
  };
  ModelKernel kernel(Machine(2));
  const auto error = [](Kernel& on, const AgentOptions& options) {
    const auto agents = Agents::Create(on, options, Instant());
    return agents ? "none" : agents.error().message;
  };
  AgentOptions options = Apart(kernel);
  options.scheduling.placement = PlacementKind::kStealing;
  EXPECT_THAT(error(kernel, options), HasSubstr("placement 'stealing'"));
  options = Apart(kernel);
  options.siblings = {0};
  EXPECT_THAT(error(kernel, options), HasSubstr("siblings has 1 numbers"));
  options = Apart(kernel);
  options.trust = nullptr;
  EXPECT_THAT(error(kernel, options), HasSubstr("trust is not set"));
  Unable unable(Machine(2));
  EXPECT_THAT(error(unable, Apart(kernel)), HasSubstr("cannot vacate a core"));
}

// ---- Everything at once -----------------------------------------------------

// What threads do at random.
class Weather {
 public:
  Weather(uint64_t seed, unsigned cores) : random_(seed, 9), cores_(cores) {}

  void Spawn(ModelKernel& kernel, uint64_t domains, bool pins) {
    kernel.Spawn(
        [this, pins, left = 3 + random_.Below(20)](Instant) mutable {
          return left-- == 0 ? Action{} : Next(pins);
        },
        random_.Below(domains));
  }

 private:
  Action Next(bool pins) {
    const uint64_t dice = random_.Below(100);
    if (dice < 45) {
      const bool is_long = random_.Below(10) == 0;
      return Runs(Duration(1 + random_.Below(is_long ? 2'000'000 : 50'000)));
    }
    if (dice < 80) return Blocks(Duration(1 + random_.Below(100'000)));
    if (dice < 90) return {.kind = Action::Kind::kYield};
    if (dice < 96 && pins) {
      Action action{.kind = Action::Kind::kAffinity};
      for (CoreId core = 0; core < cores_; ++core)
        if (random_.Below(2) == 0) action.cores.push_back(core);
      return action;
    }
    if (dice < 98) return {.kind = Action::Kind::kDepart};
    return Runs(1us);
  }

  base::Random random_;
  const unsigned cores_;
};

std::vector<uint64_t> Seeds(uint64_t usual) {
  if (const char* const one = std::getenv("YAMANOTE_SEED"))
    return {std::strtoull(one, nullptr, 10)};
  if (const char* const many = std::getenv("YAMANOTE_SEEDS"))
    usual = std::strtoull(many, nullptr, 10);
  std::vector<uint64_t> seeds;
  for (uint64_t seed = 1; seed <= usual; ++seed) seeds.push_back(seed);
  return seeds;
}

struct Case {
  const PolicyInfo* order;
  bool own_core;
};

class CoreStormTest : public testing::TestWithParam<Case> {
 protected:
  static ModelKernel::Options Machine(base::Random& random, uint64_t seed) {
    const auto cores = 2 + static_cast<unsigned>(random.Below(6));
    return {.cores = cores,
            .max_threads = 64,
            .agent_polls = GetParam().own_core,
            .siblings = Pairs(cores),
            .early_messages = random.Below(2) == 0
                                  ? 0
                                  : static_cast<unsigned>(random.Below(500)),
            .jitter = static_cast<unsigned>(random.Below(3000)),
            .seed = seed,
            .watchdog = 400ms};
  }

  static AgentOptions OptionsFor(const ModelKernel& kernel,
                                 base::Random& random) {
    AgentOptions options = Apart(kernel, std::string(GetParam().order->name));
    if (random.Below(3) != 0)
      options.scheduling.slice = Duration(20'000 + random.Below(500'000));
    options.own_core = GetParam().own_core;
    // Small enough to run over now and then.
    options.queue_capacity = random.Below(4) == 0 ? 4 : 16384;
    return options;
  }

  // New threads until `end`, and a higher class that takes cores.
  static void Rage(ModelKernel& kernel, Weather& weather, base::Random& random,
                   uint64_t domains, Instant end) {
    while (kernel.now() < end) {
      if (kernel.threads() < 40)
        weather.Spawn(kernel, domains, random.Below(2) == 0);
      if (random.Below(30) == 0) {
        kernel.Occupy(static_cast<CoreId>(random.Below(kernel.cores())),
                      kernel.now() + Duration(random.Below(100'000)),
                      Duration(1 + random.Below(1'000'000)));
      }
      kernel.RunUntil(kernel.now() + Duration(random.Below(60'000)));
    }
  }
};

// No step breaks the rule, and nothing is lost for it.
TEST_P(CoreStormTest, SiblingsStayInOneDomainAndEveryThreadEnds) {
  for (const uint64_t seed : Seeds(8)) {
    SCOPED_TRACE("YAMANOTE_SEED=" + std::to_string(seed));
    base::Random random(seed, 4);
    ModelKernel kernel(Machine(random, seed));
    Weather weather(seed, kernel.cores());
    const auto agents = Start(kernel, OptionsFor(kernel, random));
    Rage(kernel, weather, random, 1 + random.Below(6), At(10ms));
    ASSERT_TRUE(kernel.RunUntilAllEnd(At(3s)))
        << kernel.threads() << " threads are left, " << kernel.reason();
    ASSERT_FALSE(kernel.destroyed()) << kernel.reason();
    ASSERT_EQ(kernel.violation(), "");
  }
}

// Nor do agents that die at any step, or are replaced: what runs on is in one domain, and
// those who come find out who is there.
TEST_P(CoreStormTest, SuccessorsKeepSiblingsInOneDomain) {
  for (const uint64_t seed : Seeds(4)) {
    SCOPED_TRACE("YAMANOTE_SEED=" + std::to_string(seed));
    base::Random random(seed, 5);
    ModelKernel::Options machine = Machine(random, seed);
    if (random.Below(2) == 0) machine.crash_at = 1 + random.Below(3000);
    ModelKernel kernel(machine);
    Weather weather(seed, kernel.cores());
    const uint64_t domains = 2 + random.Below(4);
    auto agents = Start(kernel, OptionsFor(kernel, random));
    for (int i = 0; i < 5 && !kernel.destroyed(); ++i) {
      Rage(kernel, weather, random, domains, kernel.now() + 2ms);
      agents.reset();
      Rage(kernel, weather, random, domains, kernel.now() + 100us);
      const AgentOptions options = OptionsFor(kernel, random);
      try {
        agents = Start(kernel, options);
      } catch (
          const ModelCrash&) {  // Before its first pass; the next one is well.
        agents = Start(kernel, options);
      }
    }
    ASSERT_FALSE(kernel.destroyed()) << kernel.reason();
    const bool had_crashed = kernel.crashed();
    ASSERT_TRUE(kernel.RunUntilAllEnd(At(5s)))
        << kernel.threads() << " threads are left, " << kernel.reason();
    // Nobody comes after those that die only now.
    ASSERT_TRUE(!kernel.destroyed() || kernel.crashed() != had_crashed)
        << kernel.reason();
    ASSERT_EQ(kernel.violation(), "");
  }
}

std::vector<Case> Cases() {
  std::vector<Case> cases;
  for (const PolicyInfo* const order : Policies())
    for (const bool own_core : {false, true})
      cases.push_back({order, own_core});
  return cases;
}

std::string NameOf(const testing::TestParamInfo<Case>& info) {
  std::string name(info.param.order->name);
  if (info.param.own_core) name += "_own";
  std::ranges::replace(name, '-', '_');
  return name;
}

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.order->name << (c.own_core ? " own core" : "");
}

INSTANTIATE_TEST_SUITE_P(All, CoreStormTest, testing::ValuesIn(Cases()),
                         NameOf);

}  // namespace
}  // namespace yamanote::native
