// shared.cc - flags, interruption, progress and files of `yamanote sim`.

#include "tools/sim/shared.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>

#include "tools/config/options.h"
#include "tools/load/units.h"
#include "tools/output/output.h"
#include "tools/report/report.h"

namespace yamanote::tools {

using namespace yamanote::simulation;

namespace {

volatile std::sig_atomic_t g_stop = 0;

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

}  // namespace

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

}  // namespace yamanote::tools
