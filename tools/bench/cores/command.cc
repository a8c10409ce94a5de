// command.cc - flags, text and JSON of `yamanote bench cores`.

#include "tools/bench/cores/command.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/topology.h"
#include "tools/bench/cores/beside_batch.h"
#include "tools/bench/cores/changing.h"
#include "tools/bench/cores/hand_over.h"
#include "tools/command.h"
#include "tools/config/values.h"
#include "tools/output/json.h"
#include "tools/version/build_info.h"
#include "yamanote/core_policy.h"
#include "yamanote/scheduling.h"

namespace yamanote::tools {
namespace {

using Json = nlohmann::ordered_json;
using bench::Spread;

struct CoresFlags {
  std::string scenario = "lc+be";
  double seconds = 5;
  double round = 1;
  std::string period = "40ms";
  std::string preset{kDefaultPreset};
  std::string allocation;
  std::string service = "exp:50us";
  std::string loads;
  std::string cpus;
  std::string generator = "auto";
  std::string daemon = "events";
  uint64_t seed = 1;
  bool as_json = false;
};

Json SpreadJson(const Spread& spread) {
  return {{"median", JsonFigure(spread.median)},
          {"p25", JsonFigure(spread.p25)},
          {"p75", JsonFigure(spread.p75)}};
}

std::string FigureText(double value) {
  return std::isfinite(value) ? fmt::format("{:.1f}", value)
         : std::isnan(value)  ? "-"
                              : "inf";
}

std::string SpreadText(const Spread& spread) {
  if (std::isnan(spread.median)) return "-";
  const auto text = [](double value) {
    return std::isfinite(value) ? fmt::format("{:.2f}", value) : "inf";
  };
  return fmt::format("{} ({}..{})", text(spread.median), text(spread.p25),
                     text(spread.p75));
}

Json Head(const CoresFlags& flags, const bench::CoresOptions& options) {
  return {
      {"schema", "yamanote.bench.cores/1"},
      {"version", GetBuildInfo().version},
      {"scenario", flags.scenario},
      {"cpus", options.cpus},
      {"generator", options.generator_cpu >= 0 ? "own" : "shared"},
      {"daemon", options.poll_cpu >= 0 ? "polling" : "events"},
      {"preset", options.scheduling.preset},
      {"allocation", options.scheduling.allocation},
      {"service", options.service},
      {"seconds", std::chrono::duration<double>(options.length).count()},
      {"round_seconds", std::chrono::duration<double>(options.round).count()},
      {"seed", options.seed}};
}

// ---- lc+be ------------------------------------------------------------------

Json BesideBatchJson(const bench::BesideBatchResult& result) {
  Json loads = Json::array();
  for (const bench::BesideBatchLoad& load : result.loads) {
    Json ways = Json::array();
    for (const bench::BesideBatchWay& way : load.ways) {
      ways.push_back(
          {{"way", ToString(way.way)},
           {"p50_us", SpreadJson(way.p50_us)},
           {"p99_us", SpreadJson(way.p99_us)},
           {"p99.9_us", SpreadJson(way.p999_us)},
           {"p99_over_alone", SpreadJson(way.p99_over_alone)},
           {"batch_share", SpreadJson(way.batch_share)},
           {"service_cpus", SpreadJson(way.service_cpus)},
           {"daemon_cpus", SpreadJson(way.daemon_cpus)},
           {"grants_per_second", SpreadJson(way.grants_per_second)},
           {"generator_late_p99_us", SpreadJson(way.generator_late_p99_us)},
           {"requests", way.requests},
           {"unanswered", way.unanswered}});
    }
    loads.push_back({{"load", load.load},
                     {"offered_rps", load.rate_rps},
                     {"stolen_share", SpreadJson(load.stolen_share)},
                     {"ways", std::move(ways)}});
  }
  return loads;
}

void PrintBesideBatch(const bench::BesideBatchResult& result) {
  fmt::print("{:>5} {:<8} {:>8} {:>8} {:>20} {:>20} {:>8} {:>10}\n", "load",
             "way", "p50 us", "p99 us", "p99 over alone", "batch gets",
             "daemon", "grants/s");
  for (const bench::BesideBatchLoad& load : result.loads) {
    for (const bench::BesideBatchWay& way : load.ways) {
      fmt::print(
          "{:>5.2f} {:<8} {:>8} {:>8} {:>20} {:>20} {:>8.3f} {:>10.0f}\n",
          load.load, ToString(way.way), FigureText(way.p50_us.median),
          FigureText(way.p99_us.median), SpreadText(way.p99_over_alone),
          way.way == bench::Way::kAlone ? "-" : SpreadText(way.batch_share),
          way.daemon_cpus.median, way.grants_per_second.median);
    }
  }
  fmt::print(
      "median (quartiles) of the rounds. \"batch gets\": its share of the CPU "
      "time that the service,\nalone, leaves over. \"daemon\": CPUs that it "
      "uses.\n");
  if (!result.generator_prompt) {
    fmt::print(
        "The request generator could not be preferred (SCHED_FIFO needs root "
        "or CAP_SYS_NICE): requests come late where CPUs are full.\n");
  }
}

// ---- step -------------------------------------------------------------------

Json StepJson(const std::vector<bench::StepLoad>& steps,
              const bench::CoresOptions& options) {
  Json loads = Json::array();
  for (const bench::StepLoad& step : steps) {
    Json ways = Json::array();
    for (const bench::StepWay& way : step.ways) {
      Json buckets = Json::array();
      for (const bench::StepBucket& bucket : way.buckets) {
        buckets.push_back({bucket.requests, JsonFigure(bucket.p50_us),
                           JsonFigure(bucket.p99_us)});
      }
      ways.push_back({{"way", ToString(way.way)},
                      {"high_p99_us", JsonFigure(way.high_p99_us)},
                      {"low_p99_us", JsonFigure(way.low_p99_us)},
                      {"up_us", JsonFigure(way.up_us)},
                      {"down_us", JsonFigure(way.down_us)},
                      {"batch_share", SpreadJson(way.batch_share)},
                      {"buckets", std::move(buckets)}});
    }
    loads.push_back(
        {{"load", step.load},
         {"low_load", bench::kLowLoad},
         {"period_us",
          std::chrono::duration<double, std::micro>(options.period).count()},
         {"bucket_us", 100},
         {"periods", step.periods},
         {"ways", std::move(ways)}});
  }
  return loads;
}

void PrintSteps(const std::vector<bench::StepLoad>& steps) {
  fmt::print("{:>5} {:<8} {:>12} {:>12} {:>14} {:>14} {:>20}\n", "load", "way",
             "high p99 us", "low p99 us", "up: after us", "down: after us",
             "batch gets");
  for (const bench::StepLoad& step : steps) {
    for (const bench::StepWay& way : step.ways) {
      fmt::print(
          "{:>5.2f} {:<8} {:>12} {:>12} {:>14} {:>14} {:>20}\n", step.load,
          ToString(way.way), FigureText(way.high_p99_us),
          FigureText(way.low_p99_us), FigureText(way.up_us),
          FigureText(way.down_us),
          way.way == bench::Way::kAlone ? "-" : SpreadText(way.batch_share));
    }
  }
  fmt::print(
      "\"after\": from the step until the p99 is within 1.5 times what it then "
      "stays at. --json has the buckets.\n");
}

// ---- anticorrelated ---------------------------------------------------------

Json AnticorrelatedJson(const std::vector<bench::AnticorrelatedLoad>& all) {
  Json loads = Json::array();
  for (const bench::AnticorrelatedLoad& load : all) {
    Json ways = Json::array();
    for (const bench::AnticorrelatedWay& way : load.ways) {
      ways.push_back({{"way", ToString(way.way)},
                      {"p50_us", SpreadJson(way.p50_us)},
                      {"p99_us", SpreadJson(way.p99_us)},
                      {"p99.9_us", SpreadJson(way.p999_us)},
                      {"p99_over_alone", SpreadJson(way.p99_over_alone)},
                      {"service_cpus", SpreadJson(way.service_cpus)},
                      {"daemon_cpus", SpreadJson(way.daemon_cpus)},
                      {"grants_per_second", SpreadJson(way.grants_per_second)},
                      {"requests", way.requests},
                      {"unanswered", way.unanswered}});
    }
    loads.push_back({{"load", load.load},
                     {"low_load", bench::kLowLoad},
                     {"ways", std::move(ways)}});
  }
  return loads;
}

void PrintAnticorrelated(const std::vector<bench::AnticorrelatedLoad>& all) {
  fmt::print("{:>5} {:<8} {:>8} {:>10} {:>10} {:>20} {:>10} {:>11}\n", "load",
             "way", "p50 us", "p99 us", "p99.9 us", "p99 over alone",
             "grants/s", "unanswered");
  for (const bench::AnticorrelatedLoad& load : all) {
    for (const bench::AnticorrelatedWay& way : load.ways) {
      fmt::print("{:>5.2f} {:<8} {:>8} {:>10} {:>10} {:>20} {:>10.0f} {:>11}\n",
                 load.load, ToString(way.way), FigureText(way.p50_us.median),
                 FigureText(way.p99_us.median), FigureText(way.p999_us.median),
                 SpreadText(way.p99_over_alone), way.grants_per_second.median,
                 way.unanswered);
    }
  }
}

// ---- handover ---------------------------------------------------------------

Json QuantilesJson(const base::Histogram& took) {
  const auto us = [&](double q) { return JsonFigure(took.Quantile(q) / 1000); };
  return {{"samples", took.count()},
          {"p50", us(0.5)},
          {"p90", us(0.9)},
          {"p99", us(0.99)}};
}

double MedianOf(const std::vector<double>& rounds) {
  return rounds.empty() ? std::numeric_limits<double>::quiet_NaN()
                        : bench::Ranked(rounds).median;
}

// By rounds, so that both are of the same time.
Json OverFloor(const std::vector<double>& path,
               const std::vector<double>& floor) {
  if (path.empty()) return nullptr;
  std::vector<double> ratios;
  for (size_t i = 0; i < std::min(path.size(), floor.size()); ++i)
    ratios.push_back(path[i] / floor[i]);
  return SpreadJson(bench::Ranked(std::move(ratios)));
}

Json HandOverJson(const bench::HandOverResult& result) {
  Json paths = Json::array();
  for (const bench::PathResult& path : result.paths) {
    paths.push_back(
        {{"path", bench::kPaths[static_cast<size_t>(path.path)]},
         {"from_decision_us", QuantilesJson(path.from_decision)},
         {"from_need_us", QuantilesJson(path.from_need)},
         {"from_leave_us", QuantilesJson(path.from_leave)},
         {"over_processes",
          OverFloor(path.decision_medians_us, result.processes_medians_us)},
         {"over_same_core",
          OverFloor(path.decision_medians_us, result.same_core_medians_us)},
         {"over_other_core",
          OverFloor(path.decision_medians_us, result.other_core_medians_us)}});
  }
  return {{"kernel_same_core_us", QuantilesJson(result.same_core)},
          {"kernel_processes_us", QuantilesJson(result.processes)},
          {"kernel_other_core_us", QuantilesJson(result.other_core)},
          {"paths", std::move(paths)}};
}

void PrintHandOver(const bench::HandOverResult& result) {
  fmt::print("{:<26} {:>9} {:>9} {:>9} {:>9} {:>22}\n", "us", "hand-overs",
             "p50", "p90", "p99", "from need: p50, p99");
  const auto line = [](std::string_view name, const base::Histogram& took,
                       const base::Histogram* need) {
    const auto us = [](const base::Histogram& histogram, double q) {
      return FigureText(histogram.Quantile(q) / 1000);
    };
    fmt::print("{:<26} {:>9} {:>9} {:>9} {:>9} {:>22}\n", name, took.count(),
               us(took, 0.5), us(took, 0.9), us(took, 0.99),
               need == nullptr ? "" : us(*need, 0.5) + ", " + us(*need, 0.99));
  };
  line("kernel, same core", result.same_core, nullptr);
  line("kernel, between processes", result.processes, nullptr);
  line("kernel, other idle core", result.other_core, nullptr);
  for (const bench::PathResult& path : result.paths) {
    line(bench::kPaths[static_cast<size_t>(path.path)], path.from_decision,
         &path.from_need);
  }
  fmt::print(
      "from the daemon's decision to the new owner's first task; a wake-up of "
      "the kernel alone\nabove. Cooperative over the kernel's switch between "
      "two processes on "
      "one core: {:.1f}\n(medians).\n",
      MedianOf(result.paths[static_cast<size_t>(bench::Path::kCooperative)]
                   .decision_medians_us) /
          MedianOf(result.processes_medians_us));
}

// ---- The command ------------------------------------------------------------

template <typename T>
T Must(Result<T> result) {
  if (!result) {
    Fail(result.error().message,
         result.error().code == ErrorCode::kInvalidArgument ? kUsage : kFailed);
  }
  return std::move(*result);
}

std::vector<double> ParseLoads(const std::string& text) {
  std::vector<double> loads;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    std::string one = text.substr(begin, end - begin);
    const std::string refusal = Within(0.001, 4.0)(one);
    if (!refusal.empty()) Fail("--load: " + refusal, kUsage);
    loads.push_back(std::stod(one));
    begin = end + 1;
  }
  return loads;
}

// Which CPUs are shared, and which one the generator has.
void ChooseCpus(const CoresFlags& flags, bench::CoresOptions& options) {
  const std::vector<int> allowed = base::AllowedCpus();
  // With one left over nothing would be shared between cores.
  bool own = flags.generator == "own" ||
             (flags.generator == "auto" && allowed.size() >= 3);
  if (flags.cpus.empty()) {
    options.cpus = allowed;
    if (own && allowed.size() < 2) {
      Fail(
          "--generator own needs a second CPU, and this process may use one; "
          "leave it out",
          kUsage);
    }
    if (own) {
      options.generator_cpu = allowed.front();
      options.cpus.erase(options.cpus.begin());
    }
    return;
  }
  options.cpus = Must(ParseCpuList(flags.cpus));
  for (const int cpu : options.cpus) {
    if (std::ranges::find(allowed, cpu) == allowed.end()) {
      Fail(fmt::format("--cpus names CPU {}, which this process may not use; "
                       "it may use {}",
                       cpu, FormatCpuList(allowed)),
           kUsage);
    }
  }
  const auto other = std::ranges::find_if(allowed, [&](int cpu) {
    return std::ranges::find(options.cpus, cpu) == options.cpus.end();
  });
  if (flags.generator == "own" && other == allowed.end()) {
    Fail("--generator own needs a CPU beside those of --cpus; name one less",
         kUsage);
  }
  if (flags.generator != "shared" && other != allowed.end())
    options.generator_cpu = *other;
}

void RunCores(const CoresFlags& flags) {
  bench::CoresOptions options;
  options.scheduling = Must(FindPreset(flags.preset));
  if (!flags.allocation.empty())
    options.scheduling.allocation = flags.allocation;
  // What cannot run under an arbiter is refused before anything is measured.
  Must(ForArbiter(options.scheduling, 2));
  ChooseCpus(flags, options);
  if (flags.daemon == "polling") {
    if (options.cpus.size() < 2) {
      Fail(
          "--daemon polling takes one of the CPUs that are shared, and there "
          "is one; name more with --cpus",
          kUsage);
    }
    options.poll_cpu = options.cpus.back();
  }
  options.service = flags.service;
  options.length = Duration(static_cast<int64_t>(flags.seconds * 1e9));
  options.round = std::min(options.length,
                           Duration(static_cast<int64_t>(flags.round * 1e9)));
  const Result<Duration> period = ParseDuration(flags.period);
  if (!period) Fail("--period: " + period.error().message, kUsage);
  if (*period < std::chrono::milliseconds(2) || 4 * *period > options.round) {
    Fail(fmt::format("--period {} is outside its limits 2ms .. {}, a quarter "
                     "of a round",
                     flags.period, FormatDuration(options.round / 4)),
         kUsage);
  }
  options.period = *period;
  options.seed = flags.seed;
  options.loads = !flags.loads.empty() ? ParseLoads(flags.loads)
                  : flags.scenario == "lc+be"
                      ? std::vector<double>{0.1, 0.2, 0.4, 0.6, 0.8}
                  : flags.scenario == "step" ? std::vector<double>{0.8}
                                             : std::vector<double>{0.7};
  Json document = Head(flags, options);
  if (flags.scenario == "lc+be") {
    const bench::BesideBatchResult result = Must(RunBesideBatch(options));
    document["steps_per_us"] = result.steps_per_us;
    document["generator_prompt"] = result.generator_prompt;
    document["loads"] = BesideBatchJson(result);
    if (!flags.as_json) PrintBesideBatch(result);
  } else if (flags.scenario == "step") {
    const std::vector<bench::StepLoad> result = Must(RunSteps(options));
    document["loads"] = StepJson(result, options);
    if (!flags.as_json) PrintSteps(result);
  } else if (flags.scenario == "anticorrelated") {
    const std::vector<bench::AnticorrelatedLoad> result =
        Must(RunAnticorrelated(options));
    document["loads"] = AnticorrelatedJson(result);
    if (!flags.as_json) PrintAnticorrelated(result);
  } else {
    const bench::HandOverResult result = Must(RunHandOver(options));
    document.update(HandOverJson(result));
    if (!flags.as_json) PrintHandOver(result);
  }
  if (flags.as_json) fmt::print("{}\n", JsonText(document, 2));
}

// What a batch program of the benchmark runs.
void AddBatchProgram(CLI::App& bench) {
  CLI::App* const command = bench.add_subcommand("cores-batch");
  command->group("");  // Hidden: `bench cores` executes it.
  const auto threads = std::make_shared<unsigned>(1);
  const auto counts = std::make_shared<std::string>();
  command->add_option("--threads", *threads)
      ->check(Within(1U, bench::kMostBatchThreads));
  command->add_option("--counts", *counts)->required();
  command->callback([threads, counts] {
    if (bench::RunBatchProgram(*threads, *counts) != 0)
      Fail(fmt::format("--counts {} can't be used", *counts));
  });
}

}  // namespace

void AddBenchCores(CLI::App& bench) {
  AddBatchProgram(bench);
  CLI::App* const command = bench.add_subcommand(
      "cores", "Compare ways to share cores between applications");
  const auto flags = std::make_shared<CoresFlags>();
  std::vector<std::string> presets;
  for (const PresetInfo& preset : Presets()) presets.emplace_back(preset.name);
  std::vector<std::string> allocations;
  for (const CorePolicyInfo* policy : CorePolicies())
    allocations.emplace_back(policy->name);
  command
      ->add_option("--scenario", flags->scenario,
                   "lc+be: a service beside a batch program; step: its load "
                   "changes at once; anticorrelated: two services with bursts "
                   "in turn; handover: how long a core takes to change hands")
      ->type_name("NAME")
      ->check(OneOf({"lc+be", "step", "handover", "anticorrelated"}))
      ->capture_default_str();
  command
      ->add_option("--seconds", flags->seconds,
                   "How long each way is measured, at each load")
      ->type_name("SECONDS")
      ->check(Within(0.1, 3600.0))
      ->capture_default_str();
  command
      ->add_option("--round", flags->round,
                   "Length of a slice: ways are measured in turn, a slice each")
      ->type_name("SECONDS")
      ->check(Within(0.1, 60.0))
      ->capture_default_str();
  command
      ->add_option("--load", flags->loads,
                   "Loads of the service, as shares of what the CPUs could do; "
                   "default: 0.1,0.2,0.4,0.6,0.8, step: 0.8, anticorrelated: "
                   "0.7")
      ->type_name("SHARE,...");
  command
      ->add_option("--service", flags->service,
                   "Service times, as for `load spin`")
      ->type_name("DISTRIBUTION")
      ->capture_default_str();
  command
      ->add_option("--period", flags->period,
                   "Of loads that change: high for a half of it, then low")
      ->type_name("DURATION")
      ->capture_default_str();
  command->add_option("--preset", flags->preset, "Scheduler of the services")
      ->type_name("NAME")
      ->check(OneOf(presets))
      ->capture_default_str();
  command
      ->add_option("--allocation", flags->allocation,
                   "Core policy instead of the preset's")
      ->type_name("NAME")
      ->check(OneOf(allocations));
  command
      ->add_option("--cpus", flags->cpus,
                   "CPUs to share; default: all, without the generator's")
      ->type_name("LIST");
  command
      ->add_option("--generator", flags->generator,
                   "Whether the request generator has a CPU of its own and "
                   "polls, or shares the others and sleeps; auto: its own if "
                   "there are three")
      ->type_name("WHERE")
      ->check(OneOf({"auto", "own", "shared"}))
      ->capture_default_str();
  command
      ->add_option("--daemon", flags->daemon,
                   "Whether the daemon is driven by events, or polls on the "
                   "last of the CPUs, which it then does not hand out")
      ->type_name("HOW")
      ->check(OneOf({"events", "polling"}))
      ->capture_default_str();
  command->add_option("--seed", flags->seed, "Of arrivals and service times")
      ->type_name("NUMBER")
      ->check(Within(uint64_t{0}, std::numeric_limits<uint64_t>::max()))
      ->capture_default_str();
  command->add_flag("--json", flags->as_json, "Print one JSON document");
  command->footer(
      "The ways: alone (no batch program), arbiter (yamanoted), static (a half "
      "each), nice (Linux decides, the batch program with nice 19), idle (the "
      "same with SCHED_IDLE), linux (two services, Linux decides). It starts "
      "its own daemon and programs, and ends them.\n"
      "\n"
      "Examples:\n"
      "  yamanote bench cores --load 0.4\n"
      "  yamanote bench cores --scenario handover --seconds 10 --json");
  command->callback([flags] { RunCores(*flags); });
}

}  // namespace yamanote::tools
