// compare_command.cc - `yamanote sim compare`: its flags and its ranking.

#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "tools/config/options.h"
#include "tools/load/search.h"
#include "tools/load/units.h"
#include "tools/output/json.h"
#include "tools/sim/command.h"
#include "tools/sim/compare.h"
#include "tools/sim/points.h"
#include "tools/sim/shared.h"

namespace yamanote::tools {
namespace {

using namespace yamanote::simulation;

struct CompareFlags {
  SimFlags sim;
  std::vector<std::string> vary;
  std::string objective = "p99-slowdown<=10";
  std::string report;
};

std::vector<Candidate> Candidates(const CompareFlags& flags) {
  std::vector<std::string> vary = flags.vary;
  if (vary.empty()) {
    std::string presets;
    for (const PresetInfo& preset : Presets())
      presets += fmt::format("{}{}", presets.empty() ? "" : ",", preset.name);
    vary.push_back("preset=" + presets);
  }
  const std::vector<Variation> variations = ReadVariations(vary);
  for (const Variation& variation : variations) {
    if (variation.option->key == "load" || variation.option->key == "rate")
      Fail(
          "--vary load: compare finds the highest load by itself; "
          "leave it out, or use `yamanote sim sweep`",
          kUsage);
  }
  std::vector<SweepPoint> points = OrUsage(MakeSweep(
      ReadSettings(*flags.sim.config), variations, /*overload=*/true));
  std::vector<Candidate> candidates;
  for (SweepPoint& point : points) {
    if (point.scenario.trace != nullptr)
      Fail(
          "compare changes the load, which sim.trace fixes; leave the trace "
          "out, or use `yamanote sim sweep`",
          kUsage);
    candidates.push_back({Label(point, variations), std::move(point.scenario)});
  }
  return candidates;
}

void RunCompare(const CompareFlags& flags) {
  CheckFiles("", flags.report);
  const std::vector<Candidate> candidates = Candidates(flags);
  const load::Objective objective = OrUsage(load::Objective::Parse(
      flags.objective, candidates.front().scenario.workload));
  std::vector<Ranked> ranked;
  WithInterrupt([&](const std::function<bool()>& stopped) {
    ranked = Compare(candidates, objective, Jobs(flags.sim.jobs), stopped);
  });
  if (ranked.empty()) Fail("interrupted; nothing is printed of a part");
  if (!flags.report.empty()) {
    std::vector<load::LoadResult> curves;
    for (const Ranked& one : ranked)
      curves.push_back(ToCurve(one.label, one.scenario, one.points));
    WriteReport(std::move(curves), ranked.front().scenario, flags.report);
  }
  if (flags.sim.as_json) {
    nlohmann::ordered_json json = {{"schema", "yamanote.sim.compare/1"},
                                   {"objective", objective.text},
                                   {"ranking", nlohmann::json::array()}};
    for (const Ranked& one : ranked) {
      json["ranking"].push_back({{"name", one.label},
                                 {"highest_load", one.best_load},
                                 {"highest_rps", one.best_rps},
                                 {"stable_below_load", one.limit_load},
                                 {"why_not_more", one.why}});
    }
    fmt::print("{}\n", JsonText(json, 2));
    return;
  }
  fmt::print("highest load that meets {} on {} cores, {}:\n", objective.text,
             ranked.front().scenario.cores, ranked.front().scenario.service);
  for (const Ranked& one : ranked) {
    fmt::print("{:>24}  {:>5}  {:>9}/s  {}\n", one.label,
               one.best_load > 0 ? fmt::format("{:.3f}", one.best_load)
                                 : std::string("none"),
               load::FormatRate(one.best_rps), one.why);
  }
}

}  // namespace

void AddCompareCommand(CLI::App& sim) {
  CLI::App* const command = sim.add_subcommand(
      "compare", "Rank schedulers by the highest load that meets an objective");
  const auto flags = std::make_shared<CompareFlags>();
  command
      ->add_option("--objective", flags->objective,
                   "[CLASS:]QUANTILE-slowdown<=NUMBER or -latency<=TIME, "
                   "several with commas")
      ->type_name("LIMITS")
      ->capture_default_str();
  AddVary(*command, flags->vary,
          "What is compared, as for `sweep`; without it all presets are");
  AddCommonFlags(*command, flags->sim);
  command->add_option("--report", flags->report, "Also write an HTML page")
      ->type_name("FILE");
  command->footer(
      "Examples:\n"
      "  yamanote sim compare --cores 16 --objective 'p99-slowdown<=10' \\\n"
      "      --service bimodal:99.5%:5us,0.5%:500us --costs measured\n"
      "  yamanote sim compare --vary order=fifo,rr,las,srpt --cores 4 \\\n"
      "      --service lognormal:mean=10us,sigma=2 --slice 5us");
  command->callback([flags] { RunCompare(*flags); });
}

}  // namespace yamanote::tools
