// command.cc - gathers facts and costs, and prints them as text, JSON or TOML.

#include "tools/doctor/command.h"

#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "tools/command.h"
#include "tools/config/values.h"
#include "tools/doctor/costs.h"
#include "tools/doctor/facts.h"
#include "tools/doctor/plan.h"
#include "tools/output/json.h"
#include "tools/output/output.h"

namespace yamanote::tools {
namespace {

using Json = nlohmann::ordered_json;

// Facts and starting threads take a fraction of a second beside it.
constexpr Duration kBudget = std::chrono::milliseconds(2500);

struct DoctorFlags {
  bool as_json = false;
  bool no_costs = false;
  std::string costs_file;
};

struct Examination {
  std::vector<FactSection> sections;
  Costs costs;
};

std::string TimeText(double ns) {
  if (ns < 1'000) return fmt::format("{:.1f} ns", ns);
  if (ns < 1'000'000) return fmt::format("{:.2f} us", ns / 1'000);
  return fmt::format("{:.2f} ms", ns / 1'000'000);
}

void PrintSection(const FactSection& section) {
  fmt::print("{}\n", section.title);
  for (const Fact& fact : section.facts) {
    const char mark = fact.state == FactState::kMissing   ? '-'
                      : fact.state == FactState::kLimited ? '!'
                      : fact.state == FactState::kGood    ? '+'
                                                          : ' ';
    fmt::print(" {} {:<42} {}\n", mark, fact.label, fact.value);
    if (!fact.remark.empty()) fmt::print("   {:<42}   {}\n", "", fact.remark);
  }
  fmt::print("\n");
}

void PrintCosts(const Costs& costs) {
  fmt::print("Costs, measured just now (median, 99th percentile)\n");
  for (const Cost& cost : costs.costs) {
    fmt::print("   {:<24} {:>10} {:>10}   {}\n", cost.label,
               TimeText(cost.median_ns), TimeText(cost.p99_ns), cost.how);
  }
  if (!costs.hops.empty()) {
    fmt::print("   {:<24} {} of {} pairs of CPUs\n", "cache-line hop by pair",
               costs.hops.size(), costs.pairs);
    for (const Hop& hop : costs.hops) {
      fmt::print("     {:>4} - {:<4} {:>10}   {}\n", hop.from, hop.to,
                 TimeText(hop.ns), base::ToString(hop.distance));
    }
  }
  fmt::print("\n");
}

void PrintText(const Examination& found) {
  for (const FactSection& section : found.sections) {
    if (section.key == "use" && !found.costs.costs.empty())
      PrintCosts(found.costs);
    PrintSection(section);
  }
  fmt::print("+ there and useful   - not there   ! a limit to know\n");
}

Json ToJson(const Examination& found) {
  Json document = Json::object();
  for (const FactSection& section : found.sections) {
    Json facts = Json::object();
    for (const Fact& fact : section.facts) {
      facts[fact.key] = {{"value", fact.value},
                         {"state", ToString(fact.state)}};
      if (!fact.remark.empty()) facts[fact.key]["remark"] = fact.remark;
    }
    document[section.key] = std::move(facts);
  }
  Json costs = Json::object();
  for (const Cost& cost : found.costs.costs) {
    costs[cost.key] = {{"median_ns", cost.median_ns},
                       {"p99_ns", cost.p99_ns},
                       {"how", cost.how}};
  }
  document["costs"] = std::move(costs);
  Json hops = Json::array();
  for (const Hop& hop : found.costs.hops) {
    hops.push_back({{"from", hop.from},
                    {"to", hop.to},
                    {"distance", base::ToString(hop.distance)},
                    {"ns", hop.ns}});
  }
  document["hops"] = std::move(hops);
  return document;
}

// For `yamanote sim --costs FILE`, with what was measured in comments.
void WriteCosts(const Examination& found, const std::string& path) {
  std::string file =
      "# Costs of elementary operations, "
      "medians measured by `yamanote doctor`.\n";
  const auto& machine = found.sections.front().facts;
  for (const Fact& fact : machine) {
    if (fact.key == "cpu_model" || fact.key == "cpus") {
      file += fmt::format("# {}: {}\n", fact.label, fact.value);
    }
  }
  for (const Cost& cost : found.costs.costs) {
    file += fmt::format("# {} {:.1f} ns, p99 {:.1f}: {}\n", cost.key,
                        cost.median_ns, cost.p99_ns, cost.how);
  }
  for (const Hop& hop : found.costs.hops) {
    file += fmt::format("# a line from CPU {} to {} {:.1f} ns: {}\n", hop.from,
                        hop.to, hop.ns, base::ToString(hop.distance));
  }
  file +=
      "\n# As `yamanote sim --costs` reads it. dispatch is 4 hops, steal 3, "
      "preempt_sender 1;\n"
      "# network is half a UDP round trip between two sockets of one thread.\n"
      "[costs]\n";
  const sim::Costs costs = SimulationCosts(found.costs);
  for (const auto& [name, cost] :
       std::initializer_list<std::pair<std::string_view, Duration>>{
           {"context_switch", costs.context_switch},
           {"preempt_receiver", costs.preempt_receiver},
           {"preempt_sender", costs.preempt_sender},
           {"dispatch", costs.dispatch},
           {"hop", costs.hop},
           {"steal", costs.steal},
           {"network", costs.network},
           {"core_grant", costs.core_grant},
           {"core_revoke", costs.core_revoke}})
    file += fmt::format("{} = \"{}\"\n", name, FormatDuration(cost));
  if (auto ok = WriteFile("--costs", path, file); !ok) Fail(ok.error().message);
}

void Run(const DoctorFlags& flags) {
  if (flags.no_costs && !flags.costs_file.empty()) {
    Fail("--no-costs measures nothing that --costs could write; leave one out",
         kUsage);
  }
  if (!flags.costs_file.empty()) {
    if (auto ok = CheckWritable("--costs", flags.costs_file); !ok)
      Fail(ok.error().message, kUsage);
  }
  const Result<base::Topology> topology = base::ReadTopology();
  if (!topology) Fail(topology.error().message);
  Examination found;
  found.sections = {MachineFacts(*topology), KernelFacts(), LimitFacts(),
                    PermissionFacts()};
  if (!flags.no_costs) found.costs = MeasureCosts(*topology, kBudget);
  found.sections.push_back(Plan(*topology, found.sections, found.costs));
  if (!flags.costs_file.empty()) WriteCosts(found, flags.costs_file);
  if (flags.as_json) {
    fmt::print("{}\n", JsonText(ToJson(found), 2));
  } else {
    PrintText(found);
  }
}

}  // namespace

void AddDoctorCommand(CLI::App& app) {
  CLI::App* const command =
      app.add_subcommand("doctor",
                         "Examine this machine: features, limits, measured "
                         "costs, what will be used");
  const auto flags = std::make_shared<DoctorFlags>();
  command->add_flag("--json", flags->as_json, "Print one JSON document");
  command->add_flag("--no-costs", flags->no_costs,
                    "Measure nothing; answers at once");
  command
      ->add_option("--costs", flags->costs_file,
                   "Also write the costs for `yamanote sim --costs FILE`")
      ->type_name("FILE");
  command->footer(
      "It changes nothing, needs no privilege and takes less than five "
      "seconds.\n"
      "Run it on an idle machine: what else runs is measured too.\n"
      "\n"
      "Examples:\n"
      "  yamanote doctor\n"
      "  yamanote doctor --json | jq '.costs.futex_wake.median_ns'\n"
      "  yamanote doctor --costs machine.toml");
  command->callback([flags] { Run(*flags); });
}

}  // namespace yamanote::tools
