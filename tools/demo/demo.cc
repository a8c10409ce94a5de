// demo.cc - runs the comparison, contender by contender.

#include "tools/demo/demo.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "tools/load/measure.h"
#include "tools/version/build_info.h"
#include "yamanote/scheduling.h"

namespace yamanote::demo {
namespace {

using namespace std::chrono_literals;
using load::LoadOptions;
using load::Measurement;
using load::PointResult;

constexpr Duration kReadyTimeout = 15s;
// Requests per second; a search starts here.
constexpr double kFirstProbe = 16'000;
constexpr Duration kProbeWindow = 300ms;
constexpr Duration kProbeWarmup = 100ms;
constexpr Duration kDrain = 500ms;
// A load counts as sustained if nothing is lost or refused and the median of
// the first class stays below this. In a probe's 0.4 s an overload of 2% grows
// it further; being without a core for a moment does not.
constexpr double kMedianFloors = 30;
constexpr double kMedianUs = 3000;
constexpr double kObjectiveSlowdown = 10;
constexpr int kBehindLimit = 2;  // Loads in a row, then a contender is let off.
// Starting, filling the store, floors and calibrating; for LeastTotal() only.
constexpr Duration kSetup = 6s;
constexpr size_t kLoads = 9;  // Of PlanLoads().

std::string Replace(std::string text, std::string_view what,
                    std::string_view with) {
  for (size_t at = text.find(what); at != std::string::npos;
       at = text.find(what, at + with.size())) {
    text.replace(at, what.size(), with);
  }
  return text;
}

std::string FormatDuration(Duration duration) {
  if (duration == kNoPreemption) return "none";
  return fmt::format("{:g} µs", static_cast<double>(ToNanos(duration)) / 1e3);
}

bool Sustained(const PointResult& point) {
  if (point.lost > 0 || point.refused > 0 || point.classes.empty()) {
    return false;
  }
  const load::ClassResult& first = point.classes.front();
  const double limit = std::max(kMedianUs, kMedianFloors * first.floor_us);
  // Without a sample both are NaN, which is no proof of anything.
  return first.latency_us.p50 <= limit ||
         first.latency_us_undisturbed.p50 <= limit;
}

class Comparison {
 public:
  Comparison(const DemoOptions& options, Screen& screen,
             const Interrupts& interrupts)
      : options_(options),
        screen_(screen),
        interrupts_(interrupts),
        end_(Clock::now() + options.total) {}

  Result<DemoResult> Run();

 private:
  struct Running {
    std::unique_ptr<ServerProcess> server;
    std::unique_ptr<Measurement> measurement;
  };

  Result<Running> Start(const Contender& contender, LoadOptions load);
  Result<void> Calibrate(const Contender& contender);
  Result<load::LoadResult> Sweep(const Contender& contender,
                                 const std::vector<double>& loads);
  LoadOptions BaseLoad() const;
  void Fail(const Contender& contender, const Error& error);
  std::vector<std::string> Notes(const PointTime& time) const;
  Duration Left() const { return std::max<Duration>(end_ - Clock::now(), 0s); }
  size_t Failed(const std::string& name) const {
    return static_cast<size_t>(
        std::count(failed_.begin(), failed_.end(), name));
  }

  const DemoOptions& options_;
  Screen& screen_;
  const Interrupts& interrupts_;
  const Instant end_;
  DemoResult result_{};
  std::vector<std::string> failed_{};
  std::vector<std::pair<std::string, double>> capacities_{};
  std::string let_off_{};
  PointTime time_{};
  Duration setup_{};  // The longest that starting a contender took.
  size_t step_ = 0;
  size_t steps_ = 0;
};

LoadOptions Comparison::BaseLoad() const {
  LoadOptions load;
  load.transport = Transport::kTcp;
  load.connections = options_.connections;
  load.threads = static_cast<unsigned>(
      std::clamp<size_t>(options_.cpus.generator.size(), 1, 2));
  load.cpus = options_.cpus.generator;
  load.drain = kDrain;
  return load;
}

Result<Comparison::Running> Comparison::Start(const Contender& contender,
                                              LoadOptions load) {
  const Instant begin = Clock::now();
  screen_.Update(fmt::format("  {:<12} starting", contender.name));
  const Result<uint16_t> port = FindFreePort();
  if (!port) return tl::unexpected(port.error());
  ServerCommand command{.name = contender.name,
                        .argv = contender.argv,
                        .cpus = options_.cpus.server,
                        .port = *port,
                        .prints_ready = contender.prints_ready};
  for (std::string& word : command.argv) {
    word = Replace(word, "{port}", fmt::format("{}", *port));
    word = Replace(word, "{cpus}",
                   fmt::format("{}", fmt::join(options_.cpus.server, ",")));
  }
  Result<std::unique_ptr<ServerProcess>> server = ServerProcess::Start(command);
  if (!server) return tl::unexpected(server.error());
  // The server's own words explain a failure better than ours.
  const auto explain = [&](Error error) -> tl::unexpected<Error> {
    const std::string words = (*server)->Errors();
    if (!words.empty() && error.code != ErrorCode::kCancelled) {
      error.message += fmt::format("; it wrote:\n{}", words);
    }
    return tl::unexpected(std::move(error));
  };
  const auto cancelled = [this] { return interrupts_.pending(); };
  if (const Result<void> ready = (*server)->WaitReady(kReadyTimeout, cancelled);
      !ready) {
    return explain(ready.error());
  }
  Result<load::Target> target =
      load::ParseTarget(fmt::format("127.0.0.1:{}", *port));
  if (!target) return tl::unexpected(target.error());
  load.target = *std::move(target);
  Result<load::Workload> workload =
      load::Workload::Parse(load::Application::kKv, options_.service);
  if (!workload) return tl::unexpected(workload.error());
  load.workload = *std::move(workload);
  load.label = contender.name;
  Running running{*std::move(server),
                  std::make_unique<Measurement>(std::move(load))};
  server = nullptr;
  if (const Result<void> prepared = running.measurement->Prepare(); !prepared) {
    server = std::move(running.server);
    return explain(prepared.error());
  }
  setup_ = std::max<Duration>(setup_, Clock::now() - begin);
  if (interrupts_.pending())
    return MakeError(ErrorCode::kCancelled, "interrupted");
  return running;
}

Result<void> Comparison::Calibrate(const Contender& contender) {
  LoadOptions load = BaseLoad();
  load.duration = kProbeWindow;
  load.warmup = kProbeWarmup;
  Result<Running> running = Start(contender, std::move(load));
  if (!running) return tl::unexpected(running.error());
  const auto sustains = [&](double rps) -> Result<bool> {
    screen_.Update(
        fmt::format("  {:<12} trying {}", contender.name, FormatRps(rps)));
    // Once more if it failed: a moment without the core must not look like a
    // limit.
    for (int attempt = 0; attempt < 2; ++attempt) {
      Result<PointResult> point = running->measurement->Measure(rps);
      if (!point) return tl::unexpected(point.error());
      if (interrupts_.pending())
        return MakeError(ErrorCode::kCancelled, "interrupted");
      if (Sustained(*point)) return true;
      if (const std::string end = running->server->Ended(); !end.empty()) {
        return MakeError(
            ErrorCode::kUnavailable,
            fmt::format("{} {} at {}; it wrote:\n{}", contender.name, end,
                        FormatRps(rps), running->server->Errors()));
      }
    }
    return false;
  };
  const double start =
      capacities_.empty() ? kFirstProbe : capacities_.back().second;
  const Result<double> capacity = FindCapacity(start, sustains);
  if (!capacity) return tl::unexpected(capacity.error());
  capacities_.emplace_back(contender.name, *capacity);
  screen_.Line(fmt::format("  {:<12} sustains about {}", contender.name,
                           FormatRps(*capacity)));
  return {};
}

Result<load::LoadResult> Comparison::Sweep(const Contender& contender,
                                           const std::vector<double>& loads) {
  LoadOptions load = BaseLoad();
  load.duration = time_.window;
  load.warmup = time_.warmup;
  load.repeat = time_.repeats;
  Result<Running> running = Start(contender, std::move(load));
  if (!running) return tl::unexpected(running.error());
  Measurement& measurement = *running->measurement;
  load::LoadResult result = measurement.Describe();
  result.version = tools::GetBuildInfo().version;
  int behind = 0;
  for (const double rps : loads) {
    ++step_;
    if (behind >= kBehindLimit) continue;
    const std::string head =
        fmt::format("  [{:>2}/{}] {:<12} {:>8}", step_, steps_, contender.name,
                    FormatRps(rps));
    // Called 5 times a second from another thread: shows, and hears Ctrl-C.
    measurement.set_progress([&](uint64_t due, uint64_t total, double) {
      if (interrupts_.pending()) measurement.Stop();
      screen_.Update(
          fmt::format("{}  {:>3}%   about {} left", head,
                      total > 0 ? 100 * std::min(due, total) / total : 0,
                      FormatSeconds(Left())));
    });
    screen_.Update(
        fmt::format("{}         about {} left", head, FormatSeconds(Left())));
    Result<PointResult> point = measurement.Measure(rps);
    if (interrupts_.pending())
      return MakeError(ErrorCode::kCancelled, "interrupted");
    if (const std::string end = running->server->Ended(); !end.empty()) {
      return MakeError(
          ErrorCode::kUnavailable,
          fmt::format("{} {} at {}; it wrote:\n{}", contender.name, end,
                      FormatRps(rps), running->server->Errors()));
    }
    if (!point) return tl::unexpected(point.error());
    screen_.Line(fmt::format("{}  {}", head, PointLine(*point)));
    behind = Sustained(*point) ? 0 : behind + 1;
    if (behind == kBehindLimit && rps < loads.back()) {
      let_off_ += fmt::format("{}{} above {}", let_off_.empty() ? "" : ", ",
                              contender.name, FormatRps(rps));
    }
    result.points.push_back(*std::move(point));
  }
  return result;
}

void Comparison::Fail(const Contender& contender, const Error& error) {
  failed_.push_back(contender.name);
  const std::string what =
      error.message.starts_with(contender.name)
          ? error.message
          : fmt::format("{}: {}", contender.name, error.message);
  result_.failures.push_back(what);
  screen_.Line(
      fmt::format("  {:<12} FAILED: {}", contender.name, error.message));
}

std::vector<std::string> Comparison::Notes(const PointTime& time) const {
  std::vector<std::string> notes;
  std::vector<std::string> sliced;
  for (const Contender& contender : options_.contenders) {
    if (contender.has_slice) sliced.push_back(contender.name);
  }
  if (!sliced.empty()) {
    notes.push_back(
        fmt::format("{}: the slice is enforced only at voluntary points of the "
                    "server's code until preemption lands.",
                    fmt::join(sliced, ", ")));
  }
  notes.push_back(
      fmt::format("One machine, {}; they talk TCP over loopback, "
                  "so the kernel's work for both is in every figure.",
                  options_.cpus.ToText()));
  std::vector<std::string> found;
  for (const auto& [name, rps] : capacities_)
    found.push_back(fmt::format("{} {}", name, FormatRps(rps)));
  notes.push_back(
      fmt::format("The loads are the same for all: shares of the highest that "
                  "any of them sustained in a short calibration ({}).",
                  fmt::join(found, ", ")));
  notes.push_back(
      fmt::format("Each point is {} seed{} of {:.2g} s. A rare class has few "
                  "samples then, its p99.9 above all; the table counts them. "
                  "For figures to quote, run `yamanote load` for longer.",
                  time.repeats, time.repeats == 1 ? "" : "s",
                  static_cast<double>(ToNanos(time.window)) / 1e9));
  if (!let_off_.empty()) {
    notes.push_back(fmt::format(
        "Not driven further after falling behind at two loads in a row: {}.",
        let_off_));
  }
  for (const std::string& failure : result_.failures)
    notes.push_back("Failed: " + failure);
  return notes;
}

Result<DemoResult> Comparison::Run() {
  screen_.Line("Finding loads that make sense here");
  for (const Contender& contender : options_.contenders) {
    if (const Result<void> done = Calibrate(contender); !done) {
      if (done.error().code == ErrorCode::kCancelled)
        return tl::unexpected(done.error());
      Fail(contender, done.error());
    }
  }
  if (capacities_.empty()) {
    return MakeError(ErrorCode::kUnavailable,
                     "no server could be measured; the reasons are above");
  }
  double capacity = 0;
  for (const auto& [name, rps] : capacities_)
    capacity = std::max(capacity, rps);
  const std::vector<double> loads = PlanLoads(capacity);
  steps_ = loads.size() * capacities_.size();
  const auto setups = setup_ * static_cast<int64_t>(capacities_.size());
  time_ = PlanTime(std::max<Duration>(Left() - setups, 0s), steps_);
  screen_.Line(fmt::format(
      "Measuring {} points, {} in all", steps_,
      FormatSeconds(time_.Total() * static_cast<int64_t>(steps_) + setups)));
  report::Report& report = result_.report;
  for (const Contender& contender : options_.contenders) {
    if (Failed(contender.name) > 0) continue;
    Result<load::LoadResult> swept = Sweep(contender, loads);
    if (!swept) {
      if (swept.error().code == ErrorCode::kCancelled)
        return tl::unexpected(swept.error());
      Fail(contender, swept.error());
      continue;
    }
    report.results.push_back(*std::move(swept));
    report.schedulers.push_back(contender.facts);
  }
  if (report.results.empty()) {
    return MakeError(ErrorCode::kUnavailable,
                     "no server could be measured; the reasons are above");
  }
  report.title = fmt::format("{} under the same load",
                             fmt::join(
                                 [&] {
                                   std::vector<std::string> names;
                                   for (const auto& result : report.results)
                                     names.push_back(result.label);
                                   return names;
                                 }(),
                                 ", "));
  report.machine = report::MachineFacts();
  report.machine.emplace_back("Layout", options_.cpus.ToText());
  report.notes = Notes(time_);
  const auto& classes = report.results.front().points.front().classes;
  report.objective = report::Objective{.request_class = classes.front().name,
                                       .limit = kObjectiveSlowdown};
  return std::move(result_);
}

}  // namespace

Result<Contender> PresetContender(const std::string& preset,
                                  const std::string& program) {
  const Result<Scheduling> found = FindPreset(preset);
  if (!found) return tl::unexpected(found.error());
  Contender contender;
  contender.name = preset;
  contender.argv = {program,
                    "serve",
                    "kv",
                    "--preset",
                    preset,
                    "--listen",
                    "127.0.0.1:{port}",
                    "--cores",
                    "{cpus}"};
  contender.has_slice = found->slice != kNoPreemption;
  contender.facts.label = preset;
  for (const PresetInfo& info : Presets()) {
    if (info.name == preset) contender.facts.summary = info.summary;
  }
  std::vector<report::Fact>& config = contender.facts.config;
  config.emplace_back("order", found->order);
  config.emplace_back("slice", FormatDuration(found->slice));
  if (contender.has_slice)
    config.emplace_back("rejoin", ToString(found->rejoin));
  config.emplace_back("placement", ToString(found->placement));
  if (found->placement == PlacementKind::kCentral) {
    config.emplace_back("dispatcher", ToString(found->dispatcher));
    config.emplace_back("slots", fmt::format("{}", found->slots));
  }
  if (found->placement == PlacementKind::kTwoLevel)
    config.emplace_back("steal", found->steal ? "yes" : "no");
  config.emplace_back("replies", ToString(found->replies));
  return contender;
}

Result<Contender> ForeignContender(const std::string& text) {
  const size_t equals = text.find('=');
  if (equals == 0 || equals == std::string::npos ||
      text.find("{port}", equals) == std::string::npos) {
    return MakeError(
        ErrorCode::kInvalidArgument,
        fmt::format(
            "--also is '{}'; it must be NAME=COMMAND with {{port}} "
            "in the command, for example "
            "'memcached=memcached -u nobody -l 127.0.0.1 -t 2 -p {{port}}'",
            text));
  }
  Contender contender;
  contender.name = text.substr(0, equals);
  const std::string command = text.substr(equals + 1);
  contender.argv = {"/bin/sh", "-c", command};
  contender.prints_ready = false;
  contender.facts = {.label = contender.name,
                     .summary = "A server of its own, not Yamanote's.",
                     .config = {{"command", command}}};
  return contender;
}

Duration LeastTotal(size_t contenders) {
  const auto count = static_cast<int64_t>(contenders);
  return count *
         (kSetup + PlanTime(0s, 1).Total() * static_cast<int64_t>(kLoads));
}

Result<DemoResult> RunDemo(const DemoOptions& options, Screen& screen,
                           const Interrupts& interrupts) {
  return Comparison(options, screen, interrupts).Run();
}

}  // namespace yamanote::demo
