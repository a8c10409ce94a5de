// command.cc - `yamanote sim` without a subcommand: one scenario, as text or JSON.

#include "tools/sim/command.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "tools/config/values.h"
#include "tools/load/units.h"
#include "tools/output/json.h"
#include "tools/sim/json.h"
#include "tools/sim/limits.h"
#include "tools/sim/shared.h"

namespace yamanote::tools {
namespace {

using namespace yamanote::simulation;  // The engine's own subcommand.

void PrintText(const Scenario& scenario, const Outcome& outcome) {
  const Scheduling& s = scenario.scheduling;
  fmt::print(
      "{}: order {}, {} placement, slice {}, {} cores; {} at load {:.3g} "
      "({} requests/s)\n",
      s.preset, OrderName(scenario), ToString(s.placement),
      FormatSlice(s.slice), scenario.cores, scenario.service, scenario.load,
      load::FormatRate(scenario.rate_rps));
  fmt::print("{:<12} {:>10} {:>16} {:>16} {:>16} {:>16} {:>16}\n", "class",
             "requests", "mean us", "p50 us", "p99 us", "p99.9 us",
             "slowdown p99");
  for (const ClassOutcome& one : outcome.classes) {
    fmt::print("{:<12} {:>10} {:>16} {:>16} {:>16} {:>16} {:>16}\n", one.name,
               one.latency_us.samples, Text(one.latency_us.mean),
               Text(one.latency_us.p50), Text(one.latency_us.p99),
               Text(one.latency_us.p999), Text(one.slowdown.p99));
  }
  fmt::print(
      "95% confidence: value +- half the interval. Cores: {:.1f}% of "
      "their time requests' own work",
      100 * outcome.busy);
  if (!scenario.native) fmt::print(", {:.1f}% costs", 100 * outcome.beside);
  fmt::print(". ");
  fmt::print(
      "{:.3g} preemptions and {:.3g} steals for each request; {} "
      "refused\n",
      static_cast<double>(outcome.preemptions) /
          static_cast<double>(outcome.requests),
      static_cast<double>(outcome.steals) /
          static_cast<double>(outcome.requests),
      outcome.refused);
  if (scenario.arbiter.interval != Duration::zero()) {
    fmt::print(
        "Allocation {}: {:.3g} of {} cores held on average, {:.1f}% of that "
        "time requests' own work; {} grants/s",
        s.allocation, outcome.cores_held, scenario.cores,
        100 * outcome.efficiency, load::FormatRate(outcome.grants_rps));
    if (scenario.batch)
      fmt::print("; the batch program had {:.3g}", outcome.batch_cores);
    fmt::print("\n");
  }
  if (scenario.native) {
    const auto requests = static_cast<double>(outcome.requests);
    fmt::print(
        "Agents: {:.3g} messages and {:.3g} commits for each request, {:.2g}% "
        "of them refused\n",
        static_cast<double>(outcome.messages) / requests,
        static_cast<double>(outcome.commits) / requests,
        100 * static_cast<double>(outcome.failed_commits) /
            static_cast<double>(std::max<uint64_t>(1, outcome.commits)));
  }
  if (outcome.adaptive_slice != kNoPreemption)
    fmt::print("The slice was {} in the end\n",
               FormatDuration(outcome.adaptive_slice));
}

void RunSim(const SimFlags& flags) {
  const Config config = OrUsage(LoadConfig(*flags.config, Use::kSimulate));
  const Scenario scenario = OrUsage(MakeScenario(config));
  if (!flags.overload) {
    if (const Result<void> stable = CheckStable(scenario); !stable)
      Fail(stable.error().message, kUsage);
  }
  const std::vector<Outcome> outcomes =
      RunAll({&scenario, 1}, Jobs(flags.jobs));
  if (flags.as_json) {
    fmt::print("{}\n", JsonText(ToJson(scenario, outcomes.front()), 2));
  } else {
    PrintText(scenario, outcomes.front());
  }
}

}  // namespace

void AddSimCommand(CLI::App& app) {
  CLI::App* const command = app.add_subcommand(
      "sim", "Simulate a scheduler on any number of cores, in virtual time");
  const auto flags = std::make_shared<SimFlags>();
  AddCommonFlags(*command, *flags);
  AddSweepCommand(*command);
  AddCompareCommand(*command);
  command->require_subcommand(0, 1);
  command->footer(
      "The orders, placements, admission and adaptive slices are those that "
      "`yamanote serve` runs; only cores, network and clock are simulated. "
      "--order and --placement without --preset start from one queue for all "
      "cores, without slices. Two more orders are ideals: ps (processor "
      "sharing) and srpt (shortest "
      "remaining processing time). The same seed gives the same result. "
      "docs/sim.md explains the model and its limits.\n"
      "\n"
      "Examples:\n"
      "  yamanote sim --preset shinjuku --cores 16 --slice 5us --load 0.8 \\\n"
      "      --service bimodal:99.5%:0.5us,0.5%:500us --requests 4M\n"
      "  yamanote sim --order fifo --placement central --cores 64 \\\n"
      "      --service exp:10us --load 0.9 --costs measured\n"
      "  yamanote sim --scenario scenario.toml --json");
  command->callback([command, flags] {
    if (command->get_subcommands().empty()) RunSim(*flags);
  });
}

}  // namespace yamanote::tools
