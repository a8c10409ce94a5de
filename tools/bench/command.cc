// command.cc - `yamanote bench`: flags of `sched`, its figures as text or JSON.

#include "tools/bench/command.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/topology.h"
#include "tools/bench/cores/command.h"
#include "tools/bench/probes_command.h"
#include "tools/bench/sched.h"
#include "tools/command.h"
#include "tools/config/values.h"
#include "tools/output/json.h"
#include "tools/version/build_info.h"
#include "yamanote/policy.h"
#include "yamanote/scheduling.h"

namespace yamanote::tools {
namespace {

using Json = nlohmann::ordered_json;

struct SchedFlags {
  std::string preset{kDefaultPreset};
  std::string order;
  std::string slice;
  std::string slice_max;
  unsigned cores = 1;
  std::string service;
  double load = 0.7;
  double seconds = 5;
  double warmup = 0.1;
  uint64_t seed = 1;
  std::string body = "clock";
  unsigned steps_per_us = 300;
  size_t limit = 0;
  bool as_json = false;
};

// The names of bench::Body.
constexpr std::array<const char*, 3> kBodies = {"clock", "work", "bare"};

Json ToJson(const load::Figures& figures) {
  return {{"samples", figures.samples},        {"p50", JsonFigure(figures.p50)},
          {"p90", JsonFigure(figures.p90)},    {"p99", JsonFigure(figures.p99)},
          {"p99.9", JsonFigure(figures.p999)}, {"max", JsonFigure(figures.max)},
          {"mean", JsonFigure(figures.mean)}};
}

// As it came out on so many cores.
std::string_view DispatcherText(const Scheduling& scheduling, unsigned cores) {
  if (scheduling.placement != PlacementKind::kCentral || cores < 2)
    return "none";
  return ToString(HasDedicatedDispatcher(scheduling, cores)
                      ? DispatcherKind::kDedicated
                      : DispatcherKind::kShared);
}

Json ToJson(const bench::SchedOptions& options,
            const bench::SchedResult& result) {
  Json classes = Json::array();
  for (const bench::SchedClass& c : result.classes) {
    classes.push_back(
        {{"name", c.name},
         {"latency_us", ToJson(c.latency_us)},
         {"slowdown", ToJson(c.slowdown)},
         {"latency_us_undisturbed", ToJson(c.latency_us_undisturbed)},
         {"slowdown_undisturbed", ToJson(c.slowdown_undisturbed)},
         {"ideal_slowdown", ToJson(c.ideal_slowdown)},
         {"ideal_slowdown_undisturbed", ToJson(c.ideal_slowdown_undisturbed)},
         {"ideal_slowdown_with_stalls", ToJson(c.ideal_slowdown_with_stalls)}});
  }
  const SliceRange slice = options.scheduling.slice;
  return {
      {"schema", "yamanote.bench.sched/1"},
      {"version", GetBuildInfo().version},
      {"preset", options.scheduling.preset},
      {"order", options.scheduling.order},
      {"slice", FormatSlice(SliceRange(slice.least))},
      {"slice_max",
       slice.Adapts() ? Json(FormatDuration(slice.most)) : Json(nullptr)},
      {"adaptive_slice_us",
       slice.Adapts()
           ? Json(static_cast<double>(ToNanos(result.stats.adaptive_slice)) /
                  1000)
           : Json(nullptr)},
      {"mechanism", ToString(result.mechanism)},
      {"dispatcher", DispatcherText(options.scheduling, options.cores)},
      {"cores", options.cores},
      {"service", options.service},
      {"load", options.load},
      {"seconds", std::chrono::duration<double>(options.length).count()},
      {"warmup", options.warmup},
      {"seed", options.seed},
      {"body", kBodies[static_cast<size_t>(options.body)]},
      {"steps_per_us", options.steps_per_us},
      {"limit", options.limit},
      {"generator", result.own_core ? "own core" : "shared core"},
      {"generator_late_p99_us", JsonFigure(result.generator_late_us)},
      {"offered_rps", result.offered_rps},
      {"achieved_rps", result.achieved_rps},
      {"requests", result.requests},
      {"unfinished", result.unfinished},
      {"refused", result.refused},
      {"stolen_samples", result.stolen},
      {"stolen_us", static_cast<double>(result.stolen_time.count()) / 1000},
      {"machine_stolen_share", result.machine_stolen_share},
      {"preemptions", result.preemptions},
      {"stint_us", ToJson(result.stint_us)},
      {"stint_us_with_stalls", ToJson(result.stint_us_with_stalls)},
      {"asked_us", ToJson(result.asked_us)},
      {"work_lost", JsonFigure(result.work_lost)},
      {"score", JsonFigure(result.score)},
      {"score_with_stalls", JsonFigure(result.score_with_stalls)},
      {"classes", classes}};
}

// A figure without samples is a dash.
std::string Text(double value) {
  return std::isnan(value) ? "-" : fmt::format("{:.2f}", value);
}

void PrintText(const bench::SchedOptions& options,
               const bench::SchedResult& result) {
  fmt::print("{} on {} core(s), slice {}, {} at load {}: {:.0f} requests/s\n",
             options.scheduling.preset, options.cores,
             FormatSlice(options.scheduling.slice), options.service,
             options.load, result.offered_rps);
  fmt::print("{:<12} {:>9} {:>10} {:>10} {:>10} {:>11} {:>11} {:>11}\n",
             "class", "requests", "p50 us", "p99 us", "p99.9 us", "slow p99",
             "untagged", "ideal p99");
  for (const bench::SchedClass& c : result.classes) {
    fmt::print("{:<12} {:>9} {:>10} {:>10} {:>10} {:>11} {:>11} {:>11}\n",
               c.name, c.latency_us.samples, Text(c.latency_us.p50),
               Text(c.latency_us.p99), Text(c.latency_us.p999),
               Text(c.slowdown.p99), Text(c.slowdown_undisturbed.p99),
               Text(c.ideal_slowdown.p99));
  }
  fmt::print(
      "answered in time {:.0f} requests/s; refused {}, unfinished {}; "
      "preemptions {}\n",
      result.achieved_rps, result.refused, result.unfinished,
      result.preemptions);
  if (options.body == bench::Body::kClock) {
    fmt::print(
        "preempted while others waited after p50 {} us, p99 {} us; "
        "when others came, within p50 {} us, p99 {} us; work lost to "
        "preemption {:.2f}%\n",
        Text(result.stint_us.p50), Text(result.stint_us.p99),
        Text(result.asked_us.p50), Text(result.asked_us.p99),
        100 * result.work_lost);
  }
  fmt::print(
      "in the system while a core was taken away: {} requests ({:.1f}%); a "
      "core that only polls is away {:.2f}% of the time\n",
      result.stolen,
      100.0 * static_cast<double>(result.stolen) /
          static_cast<double>(std::max<uint64_t>(result.requests, 1)),
      100 * result.machine_stolen_share);
  fmt::print("generator on {}, late p99 {:.2f} us\n",
             result.own_core ? "a core of its own" : "the workers' cores",
             result.generator_late_us);
  fmt::print(
      "p99 slowdown over that of the ideal: {} of the untagged, {} "
      "of all if the ideal stalls, too\n",
      Text(result.score), Text(result.score_with_stalls));
}

template <typename T>
T OrUsage(Result<T> result) {
  if (!result) Fail(result.error().message, kUsage);
  return std::move(*result);
}

void RunSchedCommand(const SchedFlags& flags) {
  bench::SchedOptions options;
  options.scheduling = OrUsage(FindPreset(flags.preset));
  if (!flags.order.empty()) options.scheduling.order = flags.order;
  if (flags.slice == "adaptive") {
    options.scheduling.slice = kAdaptiveSlice;
  } else if (flags.slice == "none") {
    options.scheduling.slice = kNoPreemption;
  } else if (!flags.slice.empty()) {
    const Result<Duration> slice = ParseDuration(flags.slice);
    if (!slice) Fail("--slice: " + slice.error().message, kUsage);
    options.scheduling.slice = *slice;
  }
  if (flags.slice_max == "fixed") {
    options.scheduling.slice.most = Duration::zero();
  } else if (!flags.slice_max.empty()) {
    const Result<Duration> most = ParseDuration(flags.slice_max);
    if (!most) Fail("--slice-max: " + most.error().message, kUsage);
    options.scheduling.slice.most = *most;
  }
  const size_t allowed = base::AllowedCpus().size();
  if (flags.cores > allowed) {
    Fail(fmt::format("--cores is {}, but this process may use {} CPU(s); lower "
                     "it, or look at `taskset -p $$`",
                     flags.cores, allowed),
         kUsage);
  }
  options.cores = flags.cores;
  options.service = flags.service;
  options.load = flags.load;
  options.length = Duration(static_cast<int64_t>(flags.seconds * 1e9));
  options.warmup = flags.warmup;
  options.seed = flags.seed;
  options.body = static_cast<bench::Body>(
      std::ranges::find(kBodies, flags.body) - kBodies.begin());
  options.steps_per_us = flags.steps_per_us;
  options.limit = flags.limit;
  const Result<bench::SchedResult> result = bench::RunSched(options);
  if (!result) {
    Fail(result.error().message,
         result.error().code == ErrorCode::kInvalidArgument ? kUsage : kFailed);
  }
  if (flags.as_json) {
    fmt::print("{}\n", JsonText(ToJson(options, *result), 2));
  } else {
    PrintText(options, *result);
  }
}

void AddSched(CLI::App& bench) {
  CLI::App* const command = bench.add_subcommand(
      "sched", "Measure a scheduler with load from inside the process");
  const auto flags = std::make_shared<SchedFlags>();
  std::vector<std::string> presets;
  for (const PresetInfo& preset : Presets()) presets.emplace_back(preset.name);
  std::vector<std::string> orders;
  for (const PolicyInfo* order : Policies()) orders.emplace_back(order->name);
  command->add_option("--preset", flags->preset, "Scheduler to measure")
      ->type_name("NAME")
      ->check(OneOf(presets))
      ->capture_default_str();
  command->add_option("--order", flags->order, "Order instead of the preset's")
      ->type_name("NAME")
      ->check(OneOf(orders));
  command
      ->add_option(
          "--slice", flags->slice,
          "Slice instead of the preset's, none, or adaptive (2us to 100us)")
      ->type_name("DURATION");
  command
      ->add_option("--slice-max", flags->slice_max,
                   "Up to what the slice adapts, from --slice on, or fixed")
      ->type_name("DURATION");
  command->add_option("--cores", flags->cores, "Cores that run requests")
      ->type_name("COUNT")
      ->check(Within(1U, 256U))
      ->capture_default_str();
  command
      ->add_option("--service", flags->service,
                   "Service times, as for `load spin`")
      ->type_name("DISTRIBUTION")
      ->required();
  command
      ->add_option("--load", flags->load,
                   "Offered load, as a share of what the cores could do")
      ->type_name("SHARE")
      ->check(Within(0.001, 4.0))
      ->capture_default_str();
  command->add_option("--seconds", flags->seconds, "How long requests arrive")
      ->type_name("SECONDS")
      ->check(Within(0.01, 3600.0))
      ->capture_default_str();
  command
      ->add_option("--warmup", flags->warmup,
                   "Share of the requests that comes first and does not count")
      ->type_name("SHARE")
      ->check(Within(0.0, 0.9))
      ->capture_default_str();
  command->add_option("--seed", flags->seed, "Of arrivals and service times")
      ->type_name("NUMBER")
      ->check(Within(uint64_t{0}, std::numeric_limits<uint64_t>::max()))
      ->capture_default_str();
  command
      ->add_option("--body", flags->body,
                   "What a request does: burn its time by the clock; a fixed "
                   "amount of work; the same without probes")
      ->type_name("BODY")
      ->check(OneOf({kBodies.begin(), kBodies.end()}))
      ->capture_default_str();
  command
      ->add_option("--steps-per-us", flags->steps_per_us,
                   "Steps of work that stand for a microsecond")
      ->type_name("COUNT")
      ->check(Within(1U, 100'000U))
      ->capture_default_str();
  command
      ->add_option("--limit", flags->limit,
                   "Refuse a request while so many are in the system; 0: never")
      ->type_name("COUNT")
      ->check(Within(size_t{0}, size_t{1'000'000}))
      ->capture_default_str();
  command->add_flag("--json", flags->as_json, "Print one JSON document");
  command->footer(
      "Requests arrive by the clock, from a core of its own if there is one "
      "beside --cores, and burn their service time. The same seed means the "
      "same requests under every scheduler. The ideal is a round robin with "
      "the same slice, cores and requests in which nothing costs anything.\n"
      "\n"
      "Examples:\n"
      "  yamanote bench sched --preset tq --service "
      "bimodal:99.5%:5us,0.5%:500us\n"
      "  yamanote bench sched --slice 5us --service exp:10us --load 0.8 "
      "--json");
  command->callback([flags] { RunSchedCommand(*flags); });
}

}  // namespace

void AddBenchCommand(CLI::App& app) {
  CLI::App* const command =
      app.add_subcommand("bench", "Measure parts of Yamanote on this machine");
  command->require_subcommand(1);
  command->footer(
      "docs/bench-json.md defines what --json prints.\n"
      "\n"
      "Examples:\n"
      "  yamanote bench sched --service exp:10us\n"
      "  yamanote bench probes --kernel sort\n"
      "  yamanote bench cores --scenario lc+be");
  AddSched(*command);
  AddProbesCommand(*command);
  AddBenchCores(*command);
}

}  // namespace yamanote::tools
