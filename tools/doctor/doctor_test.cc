// doctor_test.cc - the examination holds on whatever machine the test runs.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "tools/doctor/costs.h"
#include "tools/doctor/facts.h"
#include "tools/doctor/plan.h"

namespace yamanote::tools {
namespace {

std::vector<FactSection> AllFacts(const base::Topology& topology) {
  return {MachineFacts(topology), KernelFacts(), LimitFacts(),
          PermissionFacts()};
}

TEST(DoctorTest, EveryFactHasAKeyOfItsOwnALabelAndAValue) {
  const base::Topology topology = base::ReadTopology().value();
  std::vector<FactSection> sections = AllFacts(topology);
  sections.push_back(Plan(topology, sections, Costs{}));
  std::set<std::string> keys;
  for (const FactSection& section : sections) {
    EXPECT_FALSE(section.facts.empty()) << section.key;
    for (const Fact& fact : section.facts) {
      EXPECT_TRUE(keys.insert(fact.key).second)
          << fact.key << " is there twice";
      EXPECT_FALSE(fact.label.empty()) << fact.key;
      EXPECT_FALSE(fact.value.empty()) << fact.key;
    }
  }
}

// A limit that is missing or reached must say what to do about it.
TEST(DoctorTest, EveryLimitedFactHasARemedy) {
  for (const FactSection& section : AllFacts(base::ReadTopology().value())) {
    for (const Fact& fact : section.facts) {
      if (fact.state != FactState::kLimited) continue;
      EXPECT_FALSE(fact.remark.empty()) << fact.key;
    }
  }
}

// Orders of magnitude only: the machine may be busy, sanitizers slow it down.
TEST(DoctorTest, CostsAreMeasuredWithinTheBudgetAndPlausible) {
  const base::Topology topology = base::ReadTopology().value();
  const Duration budget = std::chrono::milliseconds(400);
  const Instant before = Clock::now();
  const Costs costs = MeasureCosts(topology, budget);
  // It is bounded, on a busy machine too.
  EXPECT_LT(Clock::now() - before, 20 * budget);
  std::set<std::string> keys;
  for (const Cost& cost : costs.costs) {
    keys.insert(cost.key);
    EXPECT_GT(cost.median_ns, 0) << cost.key;
    EXPECT_GE(cost.p99_ns, cost.median_ns) << cost.key;
    EXPECT_LT(cost.median_ns, 1e9) << cost.key;
  }
  EXPECT_THAT(keys, testing::IsSupersetOf({"clock_read", "system_call",
                                           "epoll_poll", "kernel_switch",
                                           "user_switch", "udp_round_trip"}));
  const size_t cpus = topology.cpus.size();
  EXPECT_EQ(costs.pairs, cpus * (cpus - 1) / 2);
  if (cpus >= 2) {
    EXPECT_THAT(keys, testing::IsSupersetOf({"cache_line_hop", "futex_wake",
                                             "signal", "core_grant",
                                             "core_revoke", "core_hand_over"}));
    EXPECT_FALSE(costs.hops.empty());
    // What an arbiter's simulation needs is among what it reads.
    const sim::Costs simulated = SimulationCosts(costs);
    EXPECT_GT(simulated.core_grant, Duration::zero());
    EXPECT_GT(simulated.core_revoke, Duration::zero());
  }
}

TEST(DoctorTest, PlanNamesTheClockThatTheFactsAllow) {
  const base::Topology topology = base::ReadTopology().value();
  const auto clock_of = [&](FactState state) {
    const std::vector<FactSection> found = {
        {"machine", "", {{"invariant_tsc", "", "", state, ""}}}};
    for (const Fact& fact : Plan(topology, found, Costs{}).facts) {
      if (fact.key == "clock") return fact.value;
    }
    return std::string();
  };
  EXPECT_EQ(clock_of(FactState::kGood), "time-stamp counter");
  EXPECT_EQ(clock_of(FactState::kMissing), "CLOCK_MONOTONIC");
}

}  // namespace
}  // namespace yamanote::tools
