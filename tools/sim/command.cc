// command.cc - flags of `yamanote sim`, its figures as text or JSON.

#include "tools/sim/command.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>
#include <functional>
#include <memory>

#include "tools/command.h"
#include "tools/config/flags.h"
#include "tools/config/options.h"
#include "tools/config/values.h"
#include "tools/load/search.h"
#include "tools/load/units.h"
#include "tools/output/output.h"
#include "tools/report/report.h"
#include "tools/sim/compare.h"
#include "tools/sim/json.h"
#include "tools/sim/limits.h"
#include "tools/sim/points.h"
#include "tools/sim/simulate.h"
#include "tools/sim/sweep.h"

namespace yamanote::tools {
namespace {

using namespace yamanote::simulation;  // The engine's own subcommand.

struct SimFlags {
  std::shared_ptr<ConfigFlags> config = std::make_shared<ConfigFlags>();
  bool overload = false;
  unsigned jobs = 0;
  bool as_json = false;
};

volatile std::sig_atomic_t g_stop = 0;

template <typename T>
T OrUsage(Result<T> result) {
  if (!result) Fail(result.error().message, kUsage);
  return std::move(*result);
}

// On standard error, if somebody looks at it.
class ProgressLine {
 public:
  explicit ProgressLine(const Progress& progress)
      : progress_(progress), shown_(isatty(STDERR_FILENO) == 1) {}
  ~ProgressLine() {
    if (drawn_) fmt::print(stderr, "\r\x1b[K");
  }
  void Draw() {
    const auto now = std::chrono::steady_clock::now();
    if (!shown_ || progress_.of == 0 ||
        now - last_ < std::chrono::milliseconds(200))
      return;
    last_ = now;
    drawn_ = true;
    const double done =
        static_cast<double>(progress_.requests.load(std::memory_order_relaxed));
    const double of = static_cast<double>(progress_.of);
    const double seconds = std::chrono::duration<double>(now - begun_).count();
    fmt::print(stderr, "\r\x1b[K{:3.0f}%  {}requests/s  {:.0f} s left",
               100 * std::min(done / of, 1.0), load::FormatRate(done / seconds),
               done > 0 ? seconds * (of - done) / done : 0.0);
    std::fflush(stderr);
  }

 private:
  const Progress& progress_;
  const bool shown_;
  bool drawn_ = false;
  const std::chrono::steady_clock::time_point begun_ =
      std::chrono::steady_clock::now();
  std::chrono::steady_clock::time_point last_ = begun_;
};

std::string Text(double value) {
  if (std::isnan(value)) return "-";
  if (std::isinf(value)) return "inf";
  return fmt::format("{:.{}f}", value, value < 10 ? 2 : value < 1000 ? 1 : 0);
}

std::string Text(const sim::Estimate& estimate) {
  if (std::isnan(estimate.low)) return Text(estimate.value);
  return fmt::format("{} +-{}", Text(estimate.value),
                     Text(estimate.high - estimate.value));
}

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
      "their time requests' own work, {:.1f}% costs. ",
      100 * outcome.busy, 100 * outcome.beside);
  fmt::print(
      "{:.3g} preemptions and {:.3g} steals for each request; {} "
      "refused\n",
      static_cast<double>(outcome.preemptions) /
          static_cast<double>(outcome.requests),
      static_cast<double>(outcome.steals) /
          static_cast<double>(outcome.requests),
      outcome.refused);
  if (outcome.adaptive_slice != kNoPreemption)
    fmt::print("The slice was {} in the end\n",
               FormatDuration(outcome.adaptive_slice));
}

// Calls `run`, which Ctrl-C stops.
void WithInterrupt(
    const std::function<void(const std::function<bool()>& stopped)>& run) {
  struct sigaction action{};
  struct sigaction previous{};
  action.sa_handler = [](int) { g_stop = 1; };
  sigaction(SIGINT, &action, &previous);
  run([] { return g_stop != 0; });
  sigaction(SIGINT, &previous, nullptr);
}

std::vector<Outcome> RunAll(std::span<const Scenario> scenarios,
                            unsigned jobs) {
  std::vector<Outcome> outcomes;
  WithInterrupt([&](const std::function<bool()>& stopped) {
    Progress progress;
    ProgressLine line(progress);
    outcomes = Simulate(scenarios, jobs, progress, [&] {
      line.Draw();
      return stopped();
    });
  });
  if (outcomes.empty()) Fail("interrupted; nothing is printed of a part");
  return outcomes;
}

unsigned Jobs(unsigned asked) {
  if (asked != 0) return asked;
  const long cpus = sysconf(_SC_NPROCESSORS_ONLN);
  return cpus > 0 ? static_cast<unsigned>(cpus) : 1;
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
    fmt::print("{}\n", ToJson(scenario, outcomes.front()).dump(2));
  } else {
    PrintText(scenario, outcomes.front());
  }
}

// ---- sweep ------------------------------------------------------------------

struct SweepFlags {
  SimFlags sim;
  std::vector<std::string> vary;
  std::string csv;
  std::string report;
};

std::vector<Variation> ReadVariations(const std::vector<std::string>& texts) {
  std::vector<Variation> variations;
  for (const std::string& text : texts)
    variations.push_back(OrUsage(ParseVariation(text)));
  return variations;
}

std::vector<Setting> ReadSettings(const ConfigFlags& flags) {
  std::vector<Setting> settings;
  if (!flags.file.empty()) settings = OrUsage(ReadToml(flags.file));
  settings.insert(settings.end(), flags.settings.begin(), flags.settings.end());
  return settings;
}

// What tells a curve from another: all that is varied but the load.
std::string Label(const SweepPoint& point,
                  const std::vector<Variation>& variations) {
  std::string label;
  for (std::size_t i = 0; i < variations.size(); ++i) {
    const std::string& key = variations[i].option->key;
    if (key == "load" || key == "rate") continue;
    const bool name = variations[i].option->kind == ValueKind::kChoice;
    label += fmt::format("{}{}{}", label.empty() ? "" : ", ",
                         name ? "" : key + " ", point.values[i]);
  }
  return label.empty() ? point.scenario.scheduling.preset : label;
}

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
      "slowdown_p99_high,slowdown_p999,busy,costs,refused\n";
  for (const SweepPoint& point : points) {
    std::string begin;
    for (const std::string& value : point.values) begin += quote(value) + ",";
    if (!point.unstable.empty()) {
      csv += fmt::format("{}all,{:.6g},{:.8g},0,,,,,,,,,,,,,,,\n", begin,
                         point.scenario.load, point.scenario.rate_rps);
      continue;
    }
    for (const ClassOutcome& one : point.outcome.classes) {
      csv += fmt::format(
          "{}{},{:.6g},{:.8g},1,{},{:.6g},{:.6g},{:.6g},{:.6g},{:.6g},{:.6g},"
          "{:.6g},{:.6g},{:.6g},{:.6g},{:.6g},{:.5f},{:.5f},{}\n",
          begin, quote(one.name), point.scenario.load, point.scenario.rate_rps,
          one.latency_us.samples, one.latency_us.mean.value,
          one.latency_us.p50.value, one.latency_us.p99.value,
          one.latency_us.p99.low, one.latency_us.p99.high,
          one.latency_us.p999.value, one.slowdown.p50.value,
          one.slowdown.p99.value, one.slowdown.p99.low, one.slowdown.p99.high,
          one.slowdown.p999.value, point.outcome.busy, point.outcome.beside,
          point.outcome.refused);
    }
  }
  return csv;
}

void OrFail(const Result<void>& result) {
  if (result) return;
  Fail(result.error().message,
       result.error().code == ErrorCode::kInvalidArgument ? kUsage : kFailed);
}

void CheckFiles(const std::string& csv, const std::string& report) {
  for (const auto& [flag, path] :
       {std::pair{"--csv", &csv}, std::pair{"--report", &report}}) {
    if (!path->empty()) OrFail(CheckWritable(flag, *path));
  }
}

void WriteReport(std::vector<load::LoadResult> curves, const Scenario& any,
                 const std::string& path) {
  report::Report page;
  page.title = "Simulated tail latency under load";
  page.lead = fmt::format("{} on {} simulated cores", any.service, any.cores);
  page.notes = {
      "Simulated in virtual time by `yamanote sim` with the production "
      "policies and placements; no machine was measured."};
  page.results = std::move(curves);
  OrFail(report::Write(page, "--report", path));
  fmt::print(stderr, "report: {}\n", path);
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
    fmt::print("{}\n", json.dump(2));
  } else {
    PrintSweep(points, variations);
  }
}

// ---- compare ----------------------------------------------------------------

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
    Progress progress;
    ranked =
        Compare(candidates, objective, Jobs(flags.sim.jobs), progress, stopped);
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
    fmt::print("{}\n", json.dump(2));
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

void AddCommonFlags(CLI::App& command, SimFlags& flags) {
  AddScenarioFlags(command, flags.config);
  command.add_flag("--overload", flags.overload,
                   "Run it even if the queues grow without end");
  command
      .add_option("--jobs", flags.jobs,
                  "Runs at a time; 0: one for each CPU. Results do not depend "
                  "on it")
      ->type_name("COUNT")
      ->check(Within(0U, 1024U))
      ->capture_default_str();
  command.add_flag("--json", flags.as_json, "Print one JSON document");
}

void AddVary(CLI::App& command, std::vector<std::string>& vary,
             const std::string& help) {
  command.add_option("--vary", vary, help)
      ->type_name("KEY=VALUES")
      ->delimiter('\0')
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->allow_extra_args(false);
}

void AddSweep(CLI::App& sim) {
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

void AddCompare(CLI::App& sim) {
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

}  // namespace

void AddSimCommand(CLI::App& app) {
  CLI::App* const command = app.add_subcommand(
      "sim", "Simulate a scheduler on any number of cores, in virtual time");
  const auto flags = std::make_shared<SimFlags>();
  AddCommonFlags(*command, *flags);
  AddSweep(*command);
  AddCompare(*command);
  command->require_subcommand(0, 1);
  command->footer(
      "The orders, placements, admission and adaptive slices are those that "
      "`yamanote serve` runs; only cores, network and clock are simulated. "
      "--order and --placement without --preset start from one queue for all "
      "cores, without slices. Two more orders are ideals: ps (processor "
      "sharing) and srpt (shortest "
      "remaining processing time). The same seed gives the same result on "
      "every computer. docs/sim.md explains the model and its limits.\n"
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
