// sweep_command.cc - `yamanote sim sweep`: its flags, its table, CSV and JSON.

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "tools/config/options.h"
#include "tools/output/json.h"
#include "tools/output/output.h"
#include "tools/sim/command.h"
#include "tools/sim/json.h"
#include "tools/sim/points.h"
#include "tools/sim/shared.h"

namespace yamanote::tools {
namespace {

using namespace yamanote::simulation;

struct SweepFlags {
  SimFlags sim;
  std::vector<std::string> vary;
  std::string csv;
  std::string report;
};

void PrintSweep(const std::vector<SweepPoint>& points,
                const std::vector<Variation>& variations) {
  for (const Variation& variation : variations)
    fmt::print("{:>12} ", variation.option->key);
  fmt::print("{:>8} {:>16} {:>16} {:>16} {:>16} {:>7}\n", "load", "mean us",
             "p99 us", "p99.9 us", "slowdown p99", "costs");
  for (const SweepPoint& point : points) {
    for (const std::string& value : point.values) fmt::print("{:>12} ", value);
    if (!point.unstable.empty()) {
      fmt::print("{:>8.3f} cannot be stable\n", point.scenario.load);
      continue;
    }
    const ClassOutcome& all = point.outcome.classes.front();
    fmt::print("{:>8.3f} {:>16} {:>16} {:>16} {:>16} {:>6.1f}%\n",
               point.scenario.load, Text(all.latency_us.mean),
               Text(all.latency_us.p99), Text(all.latency_us.p999),
               Text(all.slowdown.p99), 100 * point.outcome.beside);
  }
}

std::string SweepCsv(const std::vector<SweepPoint>& points,
                     const std::vector<Variation>& variations) {
  // Values may have commas.
  const auto quote = [](const std::string& text) {
    std::string quoted = "\"";
    for (const char c : text) quoted += c == '"' ? "\"\"" : std::string(1, c);
    return quoted + '"';
  };
  std::string csv;
  for (const Variation& variation : variations)
    csv += variation.option->key + ",";
  csv +=
      "class,actual_load,rate_rps,stable,samples,mean_us,p50_us,p99_us,p99_low,"
      "p99_high,p999_us,slowdown_p50,slowdown_p99,slowdown_p99_low,"
      "slowdown_p99_high,slowdown_p999,busy,costs,refused,cores_held,"
      "efficiency,grants_rps\n";
  for (const SweepPoint& point : points) {
    std::string begin;
    for (const std::string& value : point.values) begin += quote(value) + ",";
    if (!point.unstable.empty()) {
      csv += fmt::format("{}all,{:.6g},{:.8g},0,,,,,,,,,,,,,,,,,,\n", begin,
                         point.scenario.load, point.scenario.rate_rps);
      continue;
    }
    for (const ClassOutcome& one : point.outcome.classes) {
      csv += fmt::format(
          "{}{},{:.6g},{:.8g},1,{},{:.6g},{:.6g},{:.6g},{:.6g},{:.6g},{:.6g},"
          "{:.6g},{:.6g},{:.6g},{:.6g},{:.6g},{:.5f},{:.5f},{},{:.6g},{:.6g},{:"
          ".6g}\n",
          begin, quote(one.name), point.scenario.load, point.scenario.rate_rps,
          one.latency_us.samples, one.latency_us.mean.value,
          one.latency_us.p50.value, one.latency_us.p99.value,
          one.latency_us.p99.low, one.latency_us.p99.high,
          one.latency_us.p999.value, one.slowdown.p50.value,
          one.slowdown.p99.value, one.slowdown.p99.low, one.slowdown.p99.high,
          one.slowdown.p999.value, point.outcome.busy, point.outcome.beside,
          point.outcome.refused, point.outcome.cores_held,
          point.outcome.efficiency, point.outcome.grants_rps);
    }
  }
  return csv;
}

void RunSweep(const SweepFlags& flags) {
  const std::vector<Variation> variations = ReadVariations(flags.vary);
  CheckFiles(flags.csv, flags.report);
  std::vector<SweepPoint> points = OrUsage(MakeSweep(
      ReadSettings(*flags.sim.config), variations, flags.sim.overload));
  std::vector<Scenario> scenarios;
  for (const SweepPoint& point : points) {
    if (point.unstable.empty()) scenarios.push_back(point.scenario);
  }
  if (scenarios.empty())
    Fail("none of the points can be stable: " + points.front().unstable,
         kUsage);
  const std::vector<Outcome> outcomes = RunAll(scenarios, Jobs(flags.sim.jobs));
  std::size_t next = 0;
  for (SweepPoint& point : points) {
    if (point.unstable.empty()) point.outcome = outcomes[next++];
  }
  if (!flags.csv.empty())
    OrFail(WriteFile("--csv", flags.csv, SweepCsv(points, variations)));
  if (!flags.report.empty()) {
    std::vector<std::string> labels;
    std::vector<std::vector<load::PointResult>> of_label;
    std::vector<const Scenario*> any;
    for (const SweepPoint& point : points) {
      if (!point.unstable.empty()) continue;
      const std::string label = Label(point, variations);
      const auto known = std::ranges::find(labels, label);
      const auto i = static_cast<std::size_t>(known - labels.begin());
      if (known == labels.end()) {
        labels.push_back(label);
        of_label.emplace_back();
        any.push_back(&point.scenario);
      }
      of_label[i].push_back(ToPoint(point.scenario, point.outcome));
    }
    std::vector<load::LoadResult> curves;
    for (std::size_t i = 0; i < labels.size(); ++i)
      curves.push_back(ToCurve(labels[i], *any[i], std::move(of_label[i])));
    WriteReport(std::move(curves), points.front().scenario, flags.report);
  }
  if (flags.sim.as_json) {
    nlohmann::ordered_json json = {{"schema", "yamanote.sim.sweep/1"},
                                   {"points", nlohmann::json::array()}};
    for (const SweepPoint& point : points) {
      nlohmann::ordered_json one;
      for (std::size_t i = 0; i < variations.size(); ++i)
        one["varied"][variations[i].option->key] = point.values[i];
      if (point.unstable.empty()) {
        one.update(ToJson(point.scenario, point.outcome));
      } else {
        one["load"] = point.scenario.load;
        one["unstable"] = point.unstable;
      }
      json["points"].push_back(std::move(one));
    }
    fmt::print("{}\n", JsonText(json, 2));
  } else {
    PrintSweep(points, variations);
  }
}

}  // namespace

void AddSweepCommand(CLI::App& sim) {
  CLI::App* const command = sim.add_subcommand(
      "sweep", "Simulate a scenario with some of its keys varied");
  const auto flags = std::make_shared<SweepFlags>();
  AddVary(*command, flags->vary,
          "A key of the scenario and its values, \"preset=ix,zygos\" or "
          "\"load=0.1..0.9/0.1\"; repeatable: all combinations. Values that "
          "have commas are separated by |");
  command->get_option("--vary")->required();
  AddCommonFlags(*command, flags->sim);
  command->add_option("--csv", flags->csv, "Also write all figures as CSV")
      ->type_name("FILE");
  command->add_option("--report", flags->report, "Also write an HTML page")
      ->type_name("FILE");
  command->footer(
      "Examples:\n"
      "  yamanote sim sweep --vary preset=ix,zygos,shinjuku,yamanote \\\n"
      "      --vary load=0.1..0.9/0.1 --cores 16 \\\n"
      "      --service bimodal:99.5%:5us,0.5%:500us --report sweep.html\n"
      "  yamanote sim sweep --vary slice=2us,5us,20us,none --preset tq \\\n"
      "      --service exp:10us --cost-preempt-receiver 200ns --csv "
      "slices.csv");
  command->callback([flags] { RunSweep(*flags); });
}

}  // namespace yamanote::tools
