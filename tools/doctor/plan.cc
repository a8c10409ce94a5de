// plan.cc - the defaults, as they come out here.

#include "tools/doctor/plan.h"

#include <fmt/format.h>

#include "preempt/mechanism.h"
#include "tools/config/config.h"
#include "tools/config/values.h"

namespace yamanote::tools {
namespace {

// " (37.2 us here)" if the cost was measured.
std::string Measured(const Costs& costs, std::string_view key) {
  for (const Cost& cost : costs.costs) {
    if (cost.key == key && cost.median_ns > 0) {
      return cost.median_ns < 1000
                 ? fmt::format(" ({:.1f} ns here)", cost.median_ns)
                 : fmt::format(" ({:.1f} us here)", cost.median_ns / 1000);
    }
  }
  return "";
}

std::string SchedulerText(const Scheduling& s) {
  return fmt::format("{}: order {}, slice {}, placement {}{}", s.preset,
                     s.order, FormatSlice(s.slice), ToString(s.placement),
                     s.steal ? " with stealing" : "");
}

// The mechanism that would be used, and each that there is.
void AddPreemption(FactSection& section, const Costs& costs) {
  const Result<Mechanism> chosen = preempt::Choose(Mechanism::kAuto);
  section.facts.push_back({"preemption", "preemption",
                           std::string(ToString(*chosen)), FactState::kPlain,
                           "--preemption chooses another"});
  const auto add = [&](Mechanism mechanism, std::string key, std::string cost) {
    const preempt::Capability capability = preempt::Check(mechanism);
    section.facts.push_back(
        {std::move(key), fmt::format("  by {}", ToString(mechanism)),
         capability.available ? "yes" : "no",
         capability.available ? FactState::kGood : FactState::kMissing,
         capability.why + cost});
  };
  add(Mechanism::kProbe, "preemption_probe",
      Measured(costs, "cache_line_hop").empty()
          ? ""
          : "; it takes a cache-line hop" + Measured(costs, "cache_line_hop"));
  add(Mechanism::kSignal, "preemption_signal",
      Measured(costs, "signal").empty()
          ? ""
          : "; it takes a signal" + Measured(costs, "signal"));
  add(Mechanism::kUserInterrupt, "preemption_user_interrupt",
      "; untested on hardware");
}

}  // namespace

FactSection Plan(const base::Topology& topology,
                 const std::vector<FactSection>& found, const Costs& costs) {
  FactSection section{"use", "What `yamanote serve` will use by default", {}};
  const Result<Config> built = Build({});
  if (!built) {
    section.facts.push_back({"scheduler", "scheduler", "none",
                             FactState::kMissing, built.error().message});
    return section;
  }
  const RuntimeOptions& runtime = built->runtime;
  std::vector<int> cpus;
  for (const base::Cpu& cpu : topology.cpus) cpus.push_back(cpu.number);

  section.facts.push_back(
      {"workers", "workers", fmt::format("{}", cpus.size()), FactState::kPlain,
       fmt::format("one pinned to each of CPUs {}; --cores chooses others",
                   FormatCpuList(cpus))});
  section.facts.push_back(
      {"scheduler", "scheduler", SchedulerText(runtime.scheduling),
       FactState::kPlain, "--preset chooses another; see `yamanote policies`"});
  AddPreemption(section, costs);
  const bool tsc = IsGood(found, "invariant_tsc");
  section.facts.push_back(
      {"clock", "clock", tsc ? "time-stamp counter" : "CLOCK_MONOTONIC",
       FactState::kPlain,
       fmt::format("{}{}",
                   tsc ? "it is invariant" : "the counter is not invariant",
                   Measured(costs, "clock_read"))});
  const bool light = IsGood(found, "madv_guard_install");
  section.facts.push_back(
      {"stacks", "stacks",
       fmt::format("{}, guarded by {}", FormatBytes(runtime.stack_bytes),
                   light ? "MADV_GUARD_INSTALL" : "mprotect"),
       FactState::kPlain,
       light ? "a guard costs no mapping"
             : "each guard is a mapping; vm.max_map_count bounds the threads "
               "to half of it"});
  section.facts.push_back(
      {"idle", "idle workers",
       fmt::format("poll for {}, then sleep", FormatDuration(runtime.spin)),
       FactState::kPlain,
       fmt::format("a sleeping core wakes late{}; --spin changes it",
                   Measured(costs, "futex_wake"))});
  section.facts.push_back(
      {"io", "input and output", "kernel sockets, epoll, recvmmsg and sendmmsg",
       FactState::kPlain,
       fmt::format("needs no privilege; a poll costs a system call{}",
                   Measured(costs, "epoll_poll"))});
  return section;
}

}  // namespace yamanote::tools
