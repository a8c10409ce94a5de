// command.cc - flags of `yamanote sim`, its figures as text or JSON.

#include "tools/sim/command.h"

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <csignal>
#include <memory>

#include "tools/command.h"
#include "tools/config/flags.h"
#include "tools/config/values.h"
#include "tools/load/units.h"
#include "tools/sim/json.h"
#include "tools/sim/limits.h"
#include "tools/sim/simulate.h"

namespace yamanote::tools {
namespace {

using namespace yamanote::simulation;  // The engine's own subcommand.

struct SimFlags {
  std::shared_ptr<ConfigFlags> config = std::make_shared<ConfigFlags>();
  bool overload = false;
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

std::vector<Outcome> RunAll(std::span<const Scenario> scenarios,
                            unsigned jobs) {
  struct sigaction action{};
  struct sigaction previous{};
  action.sa_handler = [](int) { g_stop = 1; };
  sigaction(SIGINT, &action, &previous);
  Progress progress;
  ProgressLine line(progress);
  std::vector<Outcome> outcomes = Simulate(scenarios, jobs, progress, [&] {
    line.Draw();
    return g_stop != 0;
  });
  sigaction(SIGINT, &previous, nullptr);
  if (outcomes.empty()) Fail("interrupted; nothing is printed of a part");
  return outcomes;
}

unsigned Jobs() {
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
  const std::vector<Outcome> outcomes = RunAll({&scenario, 1}, Jobs());
  if (flags.as_json) {
    fmt::print("{}\n", ToJson(scenario, outcomes.front()).dump(2));
  } else {
    PrintText(scenario, outcomes.front());
  }
}

}  // namespace

void AddSimCommand(CLI::App& app) {
  CLI::App* const command = app.add_subcommand(
      "sim", "Simulate a scheduler on any number of cores, in virtual time");
  const auto flags = std::make_shared<SimFlags>();
  AddScenarioFlags(*command, flags->config);
  command->add_flag("--overload", flags->overload,
                    "Run it even if the queues grow without end");
  command->add_flag("--json", flags->as_json, "Print one JSON document");
  command->footer(
      "The orders, placements, admission and adaptive slices are those that "
      "`yamanote serve` runs; only cores, network and clock are simulated. "
      "Two more orders are ideals: ps (processor sharing) and srpt (shortest "
      "remaining processing time). The same seed gives the same result on "
      "every computer. docs/sim.md explains the model and its limits.\n"
      "Examples:\n"
      "  yamanote sim --preset shinjuku --cores 16 --slice 5us --load 0.8 \\\n"
      "      --service bimodal:99.5%:0.5us,0.5%:500us --requests 4M\n"
      "  yamanote sim --order fifo --placement central --cores 64 \\\n"
      "      --service exp:10us --load 0.9 --costs measured\n"
      "  yamanote sim --scenario scenario.toml --json");
  command->callback([flags] { RunSim(*flags); });
}

}  // namespace yamanote::tools
