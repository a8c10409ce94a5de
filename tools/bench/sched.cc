// sched.cc - generates, waits for the end, and takes the figures together.

#include "tools/bench/sched.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <memory>

#include "base/topology.h"
#include "tools/bench/ideal.h"
#include "tools/bench/trace.h"
#include "tools/load/pin.h"
#include "worker/engine.h"
#include "worker/spawn.h"

namespace yamanote::bench {
namespace {

using namespace std::chrono_literals;

constexpr Duration kDrain = 10s;
constexpr double kWarmup = 0.1;  // Share of the arrivals that does not count.
// The generator was late by more: its core was taken away.
constexpr Duration kLate = 10us;

struct Job {
  Trace* trace = nullptr;
  Instant due{};
  Instant finished{};  // Guarded by Run::finished.
  uint32_t service_ns = 0;
  uint8_t request_class = 0;
  std::atomic<uint64_t>* finished_count = nullptr;
};

void RunJob(void* argument) {
  Job& job = *static_cast<Job*>(argument);
  job.finished = Burn(*job.trace, job.service_ns);
  // Release: pairs with Generate(), which reads what the jobs wrote.
  job.finished_count->fetch_add(1, std::memory_order_release);
}

// The CPUs that the workers get, and the generator's; -1 if none is left.
struct Cpus {
  std::vector<int> workers;
  int generator = -1;
};

Cpus ChooseCpus(unsigned cores) {
  const std::vector<int> allowed = base::AllowedCpus();
  Cpus cpus;
  for (unsigned i = 0; i < cores && i < allowed.size(); ++i)
    cpus.workers.push_back(allowed[i]);
  if (allowed.size() > cores) cpus.generator = allowed[cores];
  return cpus;
}

class Run {
 public:
  Run(const SchedOptions& options, std::vector<Arrival> arrivals,
      std::unique_ptr<Runtime> runtime, bool own_core)
      : options_(options),
        arrivals_(std::move(arrivals)),
        runtime_(std::move(runtime)),
        own_core_(own_core),
        trace_(options.cores),
        jobs_(arrivals_.size()) {}

  void Generate() {
    preempt::Timekeeper& timekeeper = runtime_->impl().timekeeper();
    const Instant start = Clock::now() + 10ms;
    for (size_t i = 0; i < arrivals_.size(); ++i) {
      Job& job = jobs_[i];
      job.trace = &trace_;
      job.due = start + arrivals_[i].at;
      job.service_ns = std::max(arrivals_[i].service_ns, 1U);
      job.request_class = arrivals_[i].request_class;
      job.finished_count = &finished_;
      Instant now = Clock::now();
      while (now < job.due) {
        timekeeper.Keep(now);
        if (!own_core_) sched_yield();
        now = Clock::now();
      }
      timekeeper.Keep(now);
      if (now - job.due > kLate) late_.push_back({job.due, now});
      lateness_.Record(static_cast<uint64_t>((now - job.due).count()));
      // max_threads is above the number of arrivals.
      (void)worker::Spawn({.name = "request",
                           .request_class = job.request_class,
                           .flow = i + 1,
                           .arrival = job.due},
                          &RunJob, &job);
    }
    const Instant last = Clock::now();
    while (finished_.load(std::memory_order_acquire) < jobs_.size() &&
           Clock::now() - last < kDrain) {
      timekeeper.Keep(Clock::now());
      if (!own_core_) sched_yield();
    }
    end_ = last;
  }

  SchedResult Evaluate(const load::Workload& workload);

 private:
  std::vector<Interval> Disturbances();

  const SchedOptions options_;
  const std::vector<Arrival> arrivals_;
  const std::unique_ptr<Runtime> runtime_;
  const bool own_core_;
  Trace trace_;
  std::vector<Job> jobs_;
  std::atomic<uint64_t> finished_{0};
  std::vector<Interval> late_;
  base::Histogram lateness_;
  Instant end_{};
};

// In order, merged where they overlap.
std::vector<Interval> Run::Disturbances() {
  std::vector<Interval> all = late_;
  for (const Trace::Core& core : trace_.cores())
    all.insert(all.end(), core.stolen.begin(), core.stolen.end());
  std::ranges::sort(all, {}, &Interval::from);
  std::vector<Interval> merged;
  for (const Interval& interval : all) {
    if (!merged.empty() && interval.from <= merged.back().to) {
      merged.back().to = std::max(merged.back().to, interval.to);
    } else {
      merged.push_back(interval);
    }
  }
  return merged;
}

bool Overlaps(const std::vector<Interval>& intervals, Instant from,
              Instant to) {
  const auto first = std::ranges::partition_point(
      intervals,
      [from](const Interval& interval) { return interval.to < from; });
  return first != intervals.end() && first->from <= to;
}

// The histograms of one group. Slowdowns are kept in thousandths.
struct Group {
  base::Histogram latency;
  base::Histogram slowdown;
  base::Histogram latency_undisturbed;
  base::Histogram slowdown_undisturbed;
  base::Histogram ideal_slowdown;

  static uint64_t Slowdown(int64_t sojourn_ns, uint32_t service_ns) {
    return static_cast<uint64_t>(1000.0 * static_cast<double>(sojourn_ns) /
                                 service_ns);
  }

  void Record(const Job& job, bool disturbed, int64_t ideal_ns) {
    ideal_slowdown.Record(Slowdown(ideal_ns, job.service_ns));
    if (job.finished == Instant{}) {
      latency.RecordInfinite();
      slowdown.RecordInfinite();
      latency_undisturbed.RecordInfinite();
      slowdown_undisturbed.RecordInfinite();
      return;
    }
    const int64_t sojourn = (job.finished - job.due).count();
    const uint64_t slow = Slowdown(sojourn, job.service_ns);
    latency.Record(static_cast<uint64_t>(sojourn));
    slowdown.Record(slow);
    if (disturbed) return;
    latency_undisturbed.Record(static_cast<uint64_t>(sojourn));
    slowdown_undisturbed.Record(slow);
  }

  SchedClass Read(std::string name) const {
    return {
        .name = std::move(name),
        .latency_us = load::ReadFigures(latency, 1000),
        .slowdown = load::ReadFigures(slowdown, 1000),
        .latency_us_undisturbed = load::ReadFigures(latency_undisturbed, 1000),
        .slowdown_undisturbed = load::ReadFigures(slowdown_undisturbed, 1000),
        .ideal_slowdown = load::ReadFigures(ideal_slowdown, 1000)};
  }
};

SchedResult Run::Evaluate(const load::Workload& workload) {
  SchedResult result;
  const std::vector<Interval> disturbances = Disturbances();
  const std::vector<int64_t> ideal =
      IdealSojourns(arrivals_, options_.cores, options_.scheduling.slice);
  const size_t classes = workload.classes().size();
  std::vector<Group> groups(classes + 1);
  const auto first =
      static_cast<size_t>(kWarmup * static_cast<double>(jobs_.size()));
  for (size_t i = first; i < jobs_.size(); ++i) {
    const Job& job = jobs_[i];
    const bool unfinished = job.finished == Instant{};
    const bool disturbed =
        !unfinished && Overlaps(disturbances, job.due, job.finished);
    result.unfinished += unfinished ? 1 : 0;
    result.stolen += disturbed ? 1 : 0;
    groups[0].Record(job, disturbed, ideal[i]);
    groups[1 + job.request_class].Record(job, disturbed, ideal[i]);
  }
  result.requests = jobs_.size() - first;
  result.classes.push_back(groups[0].Read("all"));
  for (size_t i = 0; i < classes && classes > 1; ++i)
    result.classes.push_back(groups[i + 1].Read(workload.classes()[i].name));

  base::Histogram stints;
  Duration lost{0};
  Duration burned{0};
  for (const Trace::Core& core : trace_.cores()) {
    stints.Merge(core.stints);
    lost += core.lost;
    burned += core.burned;
    for (const Interval& interval : core.stolen)
      result.stolen_time += interval.to - interval.from;
  }
  const double seconds =
      std::chrono::duration<double>(end_ - jobs_.front().due).count();
  result.offered_rps = static_cast<double>(jobs_.size()) / seconds;
  result.achieved_rps = static_cast<double>(jobs_.size() - result.unfinished) /
                        std::max(seconds, 1e-9);
  result.own_core = own_core_;
  result.generator_late_us = lateness_.Quantile(0.99) / 1000;
  result.stint_us = load::ReadFigures(stints, 1000);
  result.work_lost =
      static_cast<double>(lost.count()) /
      std::max(static_cast<double>((lost + burned).count()), 1.0);
  result.stats = runtime_->stats();
  result.preemptions = result.stats.preemptions;
  result.score = result.classes[0].slowdown_undisturbed.p99 /
                 result.classes[0].ideal_slowdown.p99;
  return result;
}

}  // namespace

Result<SchedResult> RunSched(const SchedOptions& options) {
  const Result<load::Workload> workload =
      load::Workload::Parse(load::Application::kSpin, options.service);
  if (!workload) return tl::unexpected(workload.error());
  if (!std::isfinite(workload->MeanServiceNanos())) {
    return MakeError(
        ErrorCode::kInvalidArgument,
        "--service '" + options.service +
            "' has no mean, so no rate is a share of the load; choose an alpha "
            "above 1");
  }
  const double rate =
      options.load * options.cores * 1e9 / workload->MeanServiceNanos();
  Result<std::vector<Arrival>> arrivals =
      DrawArrivals(*workload, rate, options.length, options.seed);
  if (!arrivals) return tl::unexpected(arrivals.error());

  const Cpus cpus = ChooseCpus(options.cores);
  RuntimeOptions runtime_options;
  runtime_options.cpus = cpus.workers;
  runtime_options.scheduling = options.scheduling;
  // An objective in proportion to the length, for orders that look at it.
  runtime_options.scheduling.classes.clear();
  for (const load::RequestClass& c : workload->classes()) {
    runtime_options.scheduling.classes.push_back(
        {.name = c.name,
         .slo = Duration(
             std::max<int64_t>(static_cast<int64_t>(10 * c.scale_ns), 1))});
  }
  runtime_options.spin = std::chrono::hours(1);  // Nobody parks.
  runtime_options.max_threads = 16 << 20;
  Result<std::unique_ptr<Runtime>> runtime =
      Runtime::Create(std::move(runtime_options));
  if (!runtime) return tl::unexpected(runtime.error());
  cpu_set_t before;
  CPU_ZERO(&before);
  sched_getaffinity(0, sizeof(before), &before);
  const bool own_core = cpus.generator >= 0;
  if (own_core) load::PinCurrentThread(cpus.generator);
  auto run = std::make_unique<Run>(options, std::move(*arrivals),
                                   std::move(*runtime), own_core);
  run->Generate();
  sched_setaffinity(0, sizeof(before), &before);
  return run->Evaluate(*workload);
}

}  // namespace yamanote::bench
