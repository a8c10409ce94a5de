// machine_test.cc - cores that come and go, worked out by hand; and scripted loads.

#include "sim/machine.h"

#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <set>

#include "sim/test_source.h"

namespace yamanote::sim {
namespace {

using namespace std::chrono_literals;

Scheduling Shenango(std::string_view allocation = "congestion") {
  Scheduling scheduling = FindPreset("shenango").value();
  scheduling.allocation = allocation;
  return scheduling;
}

// Nobody has two owners at a time, and who leaves a core had it.
void CheckOwners(const std::vector<Machine::Move>& moves) {
  std::map<CoreId, std::size_t> owner;
  for (const Machine::Move& move : moves) {
    if (move.granted) {
      EXPECT_FALSE(owner.contains(move.core)) << "core " << move.core;
      owner[move.core] = move.app;
    } else {
      ASSERT_TRUE(owner.contains(move.core));
      EXPECT_EQ(owner[move.core], move.app);
      owner.erase(move.core);
    }
  }
}

// A machine of applications, one by one.
class Shared {
 public:
  explicit Shared(const MachineOptions& options) : options_(options) {}

  std::size_t Add(const arbiter::Limits& limits, const Scheduling& scheduling,
                  std::vector<Arrival> arrivals) {
    auto& one = parts_.emplace_back(std::make_unique<Part>());
    one->source = std::make_unique<ListedSource>(std::move(arrivals));
    apps_.push_back({.limits = limits,
                     .scheduling = scheduling,
                     .source = one->source.get(),
                     .observer = &one->log});
    return apps_.size() - 1;
  }
  std::size_t AddSource(const arbiter::Limits& limits,
                        const Scheduling& scheduling,
                        std::unique_ptr<Source> source) {
    auto& one = parts_.emplace_back(std::make_unique<Part>());
    one->source = std::move(source);
    apps_.push_back({.limits = limits,
                     .scheduling = scheduling,
                     .source = one->source.get(),
                     .observer = &one->log});
    return apps_.size() - 1;
  }
  std::size_t AddBatch(unsigned most) {
    parts_.emplace_back(std::make_unique<Part>());
    apps_.push_back({.limits = {.most = most, .best_effort = true}});
    return apps_.size() - 1;
  }
  Machine& Run() {
    machine_ = std::make_unique<Machine>(options_, apps_);
    machine_->Record(&moves);
    machine_->Run();
    CheckOwners(moves);
    return *machine_;
  }
  const SojournLog& log(std::size_t app) const { return parts_[app]->log; }
  Duration Slowest(std::size_t app) const {
    Duration slowest{0};
    for (const auto& [at, sojourn] : parts_[app]->log.sojourns)
      slowest = std::max(slowest, sojourn);
    return slowest;
  }

  std::vector<Machine::Move> moves;

 private:
  struct Part {
    std::unique_ptr<Source> source;
    SojournLog log;
  };
  const MachineOptions options_;
  std::vector<Application> apps_;
  std::vector<std::unique_ptr<Part>> parts_;
  std::unique_ptr<Machine> machine_;
};

// It comes after the pass at 0; that of 5 us grants a core, which is there at 6.
TEST(MachineTest, ACoreIsGrantedInTheNextPass) {
  Shared shared({.cores = 2, .costs = {.core_grant = 1us}});
  const auto app = shared.Add({.most = 2}, Shenango(), {At(1us, 10us)});
  const Machine& machine = shared.Run();

  EXPECT_EQ(shared.log(app).Of(1us), 5us + 10us);
  EXPECT_EQ(machine.holding(app).grants, 1);
  EXPECT_EQ(machine.holding(app).used, 10us);
}

// Held from 5 to 16 us with the grant, then 2 us until it parks.
TEST(MachineTest, AnIdleCoreIsLeftAfterAWhile) {
  Shared shared({.cores = 1, .costs = {.core_grant = 1us}});
  const auto app =
      shared.Add({.most = 1}, Shenango(), {At(1us, 10us), At(100us, 1us)});
  const Machine& machine = shared.Run();

  ASSERT_GE(shared.moves.size(), 2);
  EXPECT_EQ(shared.moves[1].at, Instant(18us));
  EXPECT_EQ(machine.holding(app).grants, 2);
}

// The second waits; it is there at the passes of 5 and 10 us, so it is given a core.
TEST(MachineTest, WhatWaitsAWholeIntervalGetsAnotherCore) {
  Shared shared({.cores = 2});
  const auto app = shared.Add({.most = 2}, Shenango(),
                              {At(1us, 100us), At(6us, 1us), At(8us, 1us)});
  shared.Run();

  // Granted at 5; the next is seen at 10 and 15.
  EXPECT_EQ(shared.log(app).Of(1us), 104us);
  EXPECT_EQ(shared.log(app).Of(6us), 10us);
  EXPECT_EQ(shared.log(app).Of(8us), 9us);
}

TEST(MachineTest, ABatchProgramHasWhatIsLeft) {
  Shared shared({.cores = 2});
  const auto app = shared.Add({.guaranteed = 1, .most = 2}, Shenango(),
                              {At(101us, 50us), At(301us, 50us)});
  const auto batch = shared.AddBatch(2);
  const Machine& machine = shared.Run();

  // It gives its core back in the pass of 105 us, and has it again when that is over.
  EXPECT_EQ(shared.log(app).Of(101us), 4us + 50us);
  EXPECT_EQ(machine.holding(app).held, 2 * 52us - 2us)
      << "the last park is not waited for";
  EXPECT_EQ(machine.holding(batch).held + machine.holding(app).held,
            2 * machine.now().time_since_epoch() - 5us)
      << "one core is granted in each pass, the second from 5 us on";
}

TEST(MachineTest, ARevokedCoresTaskGoesOnElsewhere) {
  // Two bursting services: the second takes one of the first's two cores.
  Shared shared({.cores = 2, .costs = {.core_revoke = 1us}});
  const auto greedy =
      shared.Add({.most = 2}, Shenango("static"),
                 {At(1us, 1000us), At(2us, 1000us), At(3us, 1000us)});
  const auto late =
      shared.Add({.guaranteed = 1, .most = 1}, Shenango(), {At(101us, 10us)});
  const Machine& machine = shared.Run();

  EXPECT_EQ(shared.log(late).Of(101us), 4us + 1us + 10us);
  EXPECT_EQ(machine.holding(greedy).revocations, 1);
  EXPECT_EQ(shared.log(greedy).sojourns.size(), 3);
}

// Queues of cores that are not held: everything is answered all the same, in any order
// of grants, under every placement that lets work move.
TEST(MachineTest, NothingIsLostWhateverCoresComeAndGo) {
  std::vector<Scheduling> schedulings;
  for (const char* preset : {"shenango", "caladan", "zygos", "yamanote",
                             "skyloft-cfs", "shinjuku"}) {
    schedulings.push_back(FindPreset(preset).value());
  }
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    base::Random random(seed);
    const auto cores = static_cast<unsigned>(1 + random.Below(6));
    const auto cost = [&] {
      return Duration(static_cast<int64_t>(random.Below(3) * 700));
    };
    Shared shared({.cores = cores,
                   .costs = {.context_switch = cost(),
                             .preempt_receiver = cost(),
                             .hop = cost(),
                             .core_grant = cost(),
                             .core_revoke = cost()},
                   .interval = Duration(
                       500 + static_cast<int64_t>(random.Below(9'500)))});
    constexpr uint64_t kRequests = 300;
    const uint64_t services = 1 + random.Below(3);
    for (uint64_t i = 0; i < services; ++i) {
      Scheduling scheduling = schedulings[random.Below(schedulings.size())];
      scheduling.allocation =
          CorePolicies()[random.Below(CorePolicies().size())]->name;
      const auto mean = static_cast<double>(1000 + random.Below(20'000));
      shared.AddSource(
          {.most = 1 + static_cast<unsigned>(random.Below(cores))}, scheduling,
          std::make_unique<PoissonSource>(
              0.4 * cores / mean / static_cast<double>(services), kRequests,
              seed, [mean](base::Random& draw, Arrival& arrival) {
                arrival.flow = 1 + draw.Below(20);
                arrival.service =
                    Duration(1 + static_cast<int64_t>(draw.Exponential(mean)));
              }));
    }
    if (random.Below(2) == 0) shared.AddBatch(cores);
    const Machine& machine = shared.Run();
    Duration held{0};
    for (uint64_t i = 0; i < services; ++i) {
      EXPECT_EQ(shared.log(i).order.size() + shared.log(i).refused.size(),
                kRequests);
      EXPECT_GE(machine.holding(i).held, machine.holding(i).used);
      held += machine.holding(i).held;
    }
    EXPECT_LE(held, cores * machine.now().time_since_epoch());
    if (HasFailure()) return;
  }
}

// ---- Scripted loads ---------------------------------------------------------

// `count` requests of 10 us, `gap` apart, from `from` on.
void AddTrain(std::vector<Arrival>& arrivals, Duration from, Duration gap,
              int count) {
  for (int i = 0; i < count; ++i) arrivals.push_back(At(from + i * gap, 10us));
}

// Each needs six cores while it has its turn, of eight for both.
TEST(MachineTest, AntiCorrelatedBurstsFollowEachOther) {
  std::vector<Arrival> one;
  std::vector<Arrival> other;
  for (int turn = 0; turn < 10; ++turn) {
    AddTrain(turn % 2 == 0 ? one : other, turn * 1ms + 1us, 2us, 450);
  }
  Shared shared({.cores = 8, .costs = {.core_grant = 1us, .core_revoke = 1us}});
  const auto first = shared.Add({.guaranteed = 2, .most = 8}, Shenango(), one);
  const auto second =
      shared.Add({.guaranteed = 2, .most = 8}, Shenango(), other);
  const Machine& machine = shared.Run();

  // A burst needs some passes of 5 us to have its cores, and then nobody waits.
  EXPECT_LE(shared.Slowest(first), 60us);
  EXPECT_LE(shared.Slowest(second), 60us);
  EXPECT_GE(machine.holding(first).most, 5);
  // Static halves would have 4 cores where 5 are needed: 450 requests that come in
  // 900 us and take 1125.
  const double used = static_cast<double>(machine.holding(first).used.count());
  const double held = static_cast<double>(machine.holding(first).held.count());
  EXPECT_GE(used / held, 0.75);
}

// Both have the same work for all cores; the first has them all when the second comes.
TEST(MachineTest, TwoBurstingServicesShareEqually) {
  std::vector<Arrival> one;
  std::vector<Arrival> other;
  AddTrain(one, 1us, 10ns, 4000);
  AddTrain(other, 201us, 10ns, 4000);
  Shared shared({.cores = 8, .costs = {.core_grant = 1us, .core_revoke = 1us}});
  const auto first = shared.Add({.most = 8}, Shenango(), one);
  const auto second = shared.Add({.most = 8}, Shenango(), other);
  shared.Run();

  // From a pass for each of four cores on, until the first has done its work: 40 ms, of
  // which 1.6 while it was alone, so 9.6 more of all.
  std::map<std::size_t, Duration> held;
  std::map<CoreId, Machine::Move> since;
  for (const Machine::Move& move : shared.moves) {
    if (move.granted) {
      since[move.core] = move;
    } else {
      const Instant from = std::max(since[move.core].at, Instant(300us));
      const Instant to = std::min(move.at, Instant(9ms));
      if (to > from) held[move.app] += to - from;
      since.erase(move.core);
    }
  }
  for (const auto& [core, move] : since)
    held[move.app] += Instant(9ms) - std::max(move.at, Instant(300us));
  const double share =
      static_cast<double>(held[first].count()) /
      static_cast<double>((held[first] + held[second]).count());
  EXPECT_NEAR(share, 0.5, 0.01);
}

// Each has the same work, for four times as many cores as it can have.
TEST(MachineTest, MoreBurstingServicesThanCoresEndTogether) {
  constexpr std::size_t kServices = 16;
  Shared shared({.cores = 4, .costs = {.core_grant = 1us, .core_revoke = 1us}});
  for (std::size_t i = 0; i < kServices; ++i) {
    std::vector<Arrival> arrivals;
    AddTrain(arrivals, 1us, 10ns, 500);
    shared.Add({.most = 4}, Shenango(), arrivals);
  }
  const Machine& machine = shared.Run();
  // 80 ms of work, 20 on four cores; turns of 100 us, so 400 of all others between two.
  for (std::size_t i = 0; i < kServices; ++i) {
    EXPECT_EQ(shared.log(i).order.size(), 500);
    EXPECT_GE(shared.Slowest(i),
              machine.now().time_since_epoch() - 2 * 400us - 100us)
        << "service " << i;
  }
}

TEST(MachineTest, SiblingsAreUsedTogether) {
  // 0-4, 1-5, 2-6, 3-7.
  std::vector<CoreId> siblings;
  for (CoreId core = 0; core < 8; ++core) siblings.push_back((core + 4) % 8);
  std::vector<Arrival> arrivals;
  AddTrain(arrivals, 1us, 5us, 100);
  Shared shared({.cores = 8, .siblings = siblings});
  const auto app =
      shared.Add({.guaranteed = 8, .most = 8}, Shenango(), arrivals);
  shared.Run();

  // Two cores are enough, and they are one physical core.
  std::set<CoreId> used;
  for (const Machine::Move& move : shared.moves) {
    if (move.app == app) used.insert(move.core % 4);
  }
  EXPECT_LE(used.size(), 2);
}

TEST(MachineTest, OneHundredAndTwentyEightCores) {
  std::vector<Arrival> arrivals;
  // 100 cores' work for 2 ms, then 10 cores'.
  AddTrain(arrivals, 1us, 100ns, 20'000);
  AddTrain(arrivals, 2001us, 1us, 2'000);
  Shared shared({.cores = 128, .costs = {.core_grant = 1us}});
  const auto app =
      shared.Add({.guaranteed = 128, .most = 128}, Shenango(), arrivals);
  const auto batch = shared.AddBatch(128);
  const Machine& machine = shared.Run();

  EXPECT_EQ(shared.log(app).order.size(), 22'000);
  EXPECT_GE(machine.holding(app).most, 95);
  // Of 128 * 4 ms, the service's work is 220 ms.
  EXPECT_GE(machine.holding(batch).held, 150ms);
}

}  // namespace
}  // namespace yamanote::sim
