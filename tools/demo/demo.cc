// demo.cc - runs the comparison, round by round.

#include "tools/demo/demo.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "tools/demo/rounds.h"
#include "tools/load/combine.h"
#include "tools/load/gaps.h"
#include "tools/load/measure.h"
#include "tools/version/build_info.h"

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
constexpr Duration kDrain = 200ms;
// A load counts as sustained if nothing is lost or refused and the median of
// the first class stays below this. In a probe's 0.4 s an overload of 1% grows
// it further; being without a core for a moment does not. Servers that answer more at
// once the more waits sustain much more at 3 ms, and most of the demo's loads would be
// such as nobody wants.
constexpr double kMedianFloors = 30;
constexpr double kMedianUs = 1000;
constexpr double kObjectiveSlowdown = 10;
// Starting, filling the store, floors and calibrating; for LeastTotal() only.
constexpr Duration kSetup = 6s;
constexpr size_t kLoads = 9;  // Of PlanLoads().

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

// A contender whose server runs.
struct Competitor {
  const Contender* contender;
  std::unique_ptr<ServerProcess> server;
  std::unique_ptr<Measurement> measurement;
  double capacity = 0;
  load::LoadResult result{};

  const std::string& name() const { return contender->name; }
};

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
  Result<Competitor> Start(const Contender& contender);
  Result<double> FindCapacityOf(Competitor& competitor, double start);
  Result<void> StartAll();
  void PlanLoadsAndTime();
  Result<load::Run> MeasureOnce(Competitor& competitor, double rps,
                                uint64_t round);
  Result<Rounds> MeasureRounds();
  void Report(const Rounds& rounds);
  std::vector<double> LeastFloors() const;
  LoadOptions BaseLoad() const;
  void Fail(const Contender& contender, const Error& error);
  void CountSlices();
  std::vector<std::string> Notes(const Rounds& rounds) const;
  Duration Left() const { return std::max<Duration>(end_ - Clock::now(), 0s); }

  const DemoOptions& options_;
  Screen& screen_;
  const Interrupts& interrupts_;
  const Instant end_;
  DemoResult result_{};
  std::vector<Competitor> competitors_{};  // Those that could be started.
  std::vector<std::string> capacities_{};  // As text; who failed as well.
  std::string first_class_{};              // Of the requests.
  std::vector<double> loads_{};
  PointTime time_{};
  Duration gap_threshold_{};  // One for all, so that tags compare.
};

LoadOptions Comparison::BaseLoad() const {
  LoadOptions load;
  load.transport = Transport::kTcp;
  load.connections = options_.connections;
  load.threads = static_cast<unsigned>(
      std::clamp<size_t>(options_.cpus.generator.size(), 1, 2));
  load.cpus = options_.cpus.generator;
  load.drain = kDrain;
  load.duration = kProbeWindow;
  load.warmup = kProbeWarmup;
  load.gap_threshold = gap_threshold_;
  load.combining = load::Combining::kMedian;
  return load;
}

Result<Competitor> Comparison::Start(const Contender& contender) {
  screen_.Update(fmt::format("  {:<12} starting", contender.name));
  const Result<uint16_t> port = FindFreePort();
  if (!port) return tl::unexpected(port.error());
  Result<std::unique_ptr<ServerProcess>> server =
      ServerProcess::Start(CommandOf(contender, options_.cpus.server, *port));
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
  LoadOptions load = BaseLoad();
  load.target = *std::move(target);
  Result<load::Workload> workload =
      load::Workload::Parse(load::Application::kKv, options_.service);
  if (!workload) return tl::unexpected(workload.error());
  first_class_ = workload->classes().front().name;
  load.workload = *std::move(workload);
  load.label = contender.name;
  Competitor competitor{
      .contender = &contender,
      .server = nullptr,
      .measurement = std::make_unique<Measurement>(std::move(load))};
  if (const Result<void> prepared = competitor.measurement->Prepare();
      !prepared) {
    return explain(prepared.error());
  }
  competitor.server = *std::move(server);
  if (interrupts_.pending())
    return MakeError(ErrorCode::kCancelled, "interrupted");
  return competitor;
}

// The least unloaded latency of each class that any contender had: who wakes up
// slowly must not look better under load for it.
std::vector<double> Comparison::LeastFloors() const {
  std::vector<double> least = competitors_.front().measurement->floors_us();
  for (const Competitor& competitor : competitors_) {
    const std::vector<double>& floors = competitor.measurement->floors_us();
    for (size_t i = 0; i < least.size(); ++i)
      least[i] = std::fmin(least[i], floors[i]);
  }
  return least;
}

Result<double> Comparison::FindCapacityOf(Competitor& competitor,
                                          double start) {
  return FindCapacity(start, [&](double rps) -> Result<bool> {
    screen_.Update(
        fmt::format("  {:<12} trying {}", competitor.name(), FormatRps(rps)));
    // Once more if it failed: a moment without the core must not look like a
    // limit.
    for (int attempt = 0; attempt < 2; ++attempt) {
      Result<PointResult> point = competitor.measurement->Measure(rps);
      if (interrupts_.pending())
        return MakeError(ErrorCode::kCancelled, "interrupted");
      if (const Result<void> alive = CheckAlive(*competitor.server, rps);
          !alive)
        return tl::unexpected(alive.error());
      if (!point) return tl::unexpected(point.error());
      // Beyond what the generator can do the curves would be its own.
      if (Sustained(*point) && (point->valid || point->valid_undisturbed))
        return true;
    }
    return false;
  });
}

// Starts and probes each contender. Fails only if interrupted.
Result<void> Comparison::StartAll() {
  double start = kFirstProbe;
  for (const Contender& contender : options_.contenders) {
    Result<Competitor> competitor = Start(contender);
    Result<double> capacity =
        competitor ? FindCapacityOf(*competitor, start)
                   : Result<double>(tl::unexpected(competitor.error()));
    if (!capacity) {
      if (capacity.error().code == ErrorCode::kCancelled)
        return tl::unexpected(capacity.error());
      Fail(contender, capacity.error());
      continue;
    }
    start = competitor->capacity = *capacity;
    capacities_.push_back(
        fmt::format("{} {}", contender.name, FormatRps(*capacity)));
    screen_.Line(fmt::format("  {:<12} sustains about {}", contender.name,
                             FormatRps(*capacity)));
    competitors_.push_back(*std::move(competitor));
  }
  return {};
}

// The same loads for all, and how long their runs are.
void Comparison::PlanLoadsAndTime() {
  double capacity = 0;
  for (const Competitor& competitor : competitors_)
    capacity = std::max(capacity, competitor.capacity);
  loads_ = PlanLoads(capacity);
  time_ = PlanTime(Left(), loads_.size() * competitors_.size());
  const std::vector<double> floors_us = LeastFloors();
  for (Competitor& competitor : competitors_) {
    competitor.measurement->set_floors_us(floors_us);
    competitor.measurement->SetWindow(time_.warmup, time_.window);
    competitor.result = competitor.measurement->Describe();
    competitor.result.version = tools::GetBuildInfo().version;
  }
}

Result<load::Run> Comparison::MeasureOnce(Competitor& competitor, double rps,
                                          uint64_t round) {
  screen_.Update(fmt::format("  round {:>2}  {:>8}  {:<12}  about {} left",
                             round, FormatRps(rps), competitor.name(),
                             FormatSeconds(Left())));
  Result<load::Run> run = Drive(*competitor.server, *competitor.measurement,
                                interrupts_, rps, round);
  if (!run && run.error().code != ErrorCode::kCancelled)
    Fail(*competitor.contender, run.error());
  return run;
}

void Comparison::Fail(const Contender& contender, const Error& error) {
  const std::string what =
      error.message.starts_with(contender.name)
          ? error.message
          : fmt::format("{}: {}", contender.name, error.message);
  result_.failures.push_back(what);
  screen_.Line(
      fmt::format("  {:<12} FAILED: {}", contender.name, error.message));
}

// Stops the servers that have slices and asks them how these ended.
void Comparison::CountSlices() {
  for (Competitor& competitor : competitors_) {
    if (!competitor.contender->has_slice) continue;
    SliceEnds ends;
    if (const std::string end = competitor.server->Ended(); !end.empty()) {
      ends.unknown = "it " + end;
    } else if (Result<SliceEnds> read =
                   ReadSliceEnds(competitor.server->Stop());
               read) {
      ends = *std::move(read);
    } else {
      ends.unknown = read.error().message;
    }
    ends.name = competitor.name();
    ends.mechanism = MechanismOf(competitor.server->ready_line());
    result_.slices.push_back(std::move(ends));
  }
}

std::vector<std::string> Comparison::Notes(const Rounds& rounds) const {
  std::vector<std::string> notes;
  if (!result_.slices.empty()) notes.push_back(SliceSentence(result_.slices));
  notes.push_back(
      fmt::format("One machine, {}; they talk TCP over loopback, "
                  "so the kernel's work for both is in every figure.",
                  options_.cpus.ToText()));
  notes.push_back(
      fmt::format("The loads are the same for all: shares of the highest that "
                  "any of them sustained in a short calibration ({}).",
                  fmt::join(capacities_, ", ")));
  notes.push_back(
      "Slowdown divides by the least unloaded latency that any of them had, "
      "the same for all.");
  notes.push_back(fmt::format(
      "Each point is {} runs of {:.2g} s with seeds of their own, the "
      "contenders in turn; each figure is the median over the runs, so that a "
      "stall of the machine spoils single runs, unless most had one. The p99 "
      "of a "
      "class that has fewer than 100 samples in a run is the median of the "
      "runs' worst, and the lower the fewer they are. For figures to quote, "
      "run `yamanote load` for longer.",
      rounds.done(), static_cast<double>(ToNanos(time_.window)) / 1e9));
  for (const std::string& failure : result_.failures)
    notes.push_back("Failed: " + failure);
  for (size_t i = 0; i < competitors_.size(); ++i) {
    if (!rounds.Failed(i)) continue;
    notes.push_back(
        fmt::format("{} failed while it was measured and was not driven again: "
                    "its points are of fewer runs.",
                    competitors_[i].name()));
  }
  return notes;
}

void Comparison::Report(const Rounds& rounds) {
  report::Report& report = result_.report;
  CountSlices();
  report.notes = Notes(rounds);
  std::vector<std::string> names;
  for (size_t i = 0; i < competitors_.size(); ++i) {
    Competitor& competitor = competitors_[i];
    names.push_back(competitor.name());
    competitor.result.points = rounds.Points(i);
    report.results.push_back(std::move(competitor.result));
    report.schedulers.push_back(competitor.contender->facts);
  }
  for (const SliceEnds& ends : result_.slices) {
    for (report::SchedulerFacts& facts : report.schedulers) {
      if (facts.label != ends.name) continue;
      facts.config.emplace_back("preemption", ends.mechanism);
      facts.config.emplace_back("slices ended", CountsOf(ends));
    }
  }
  report.title = fmt::format("{} under the same load", fmt::join(names, ", "));
  report.machine = report::MachineFacts();
  report.machine.emplace_back("Layout", options_.cpus.ToText());
  report.objective = report::Objective{.request_class = first_class_,
                                       .limit = kObjectiveSlowdown};
}

Result<Rounds> Comparison::MeasureRounds() {
  Rounds rounds(loads_, competitors_.size(),
                [this](size_t contender, double rps, uint64_t round) {
                  return MeasureOnce(competitors_[contender], rps, round);
                });
  // What falls behind takes longer than planned: there are fewer rounds then.
  const Instant begin = Clock::now();
  do {
    if (const Result<void> measured = rounds.Next(); !measured)
      return tl::unexpected(measured.error());
    screen_.Line(fmt::format("  round {:>2} done, about {} left", rounds.done(),
                             FormatSeconds(Left())));
  } while (
      !rounds.AllFailed() &&
      (rounds.done() < kFewestRuns ||
       (Clock::now() - begin) / static_cast<int64_t>(rounds.done()) <= Left()));
  return rounds;
}

Result<DemoResult> Comparison::Run() {
  const auto& cpus = options_.cpus.generator;
  gap_threshold_ = load::MeasureGapThreshold(cpus.empty() ? -1 : cpus.front());
  screen_.Line("Finding loads that make sense here");
  if (const Result<void> started = StartAll(); !started)
    return tl::unexpected(started.error());
  const auto none =
      MakeError(ErrorCode::kUnavailable,
                "no server could be measured; the reasons are above");
  if (competitors_.empty()) return none;
  PlanLoadsAndTime();
  screen_.Line(fmt::format(
      "Measuring at {} loads from {} to {}, about {} rounds of short runs: {}",
      loads_.size(), FormatRps(loads_.front()), FormatRps(loads_.back()),
      time_.repeats, FormatSeconds(Left())));
  const Result<Rounds> rounds = MeasureRounds();
  if (!rounds) return tl::unexpected(rounds.error());
  if (rounds->AllFailed()) return none;
  Report(*rounds);
  return std::move(result_);
}

}  // namespace

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
