// sched.cc - generates, waits for the end, and takes the figures together.

#include "tools/bench/sched.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <memory>

#include "base/topology.h"
#include "tools/bench/ideal.h"
#include "tools/bench/stints.h"
#include "tools/bench/trace.h"
#include "tools/load/pin.h"
#include "tools/load/workload.h"
#include "worker/engine.h"
#include "worker/spawn.h"

namespace yamanote::bench {
namespace {

using namespace std::chrono_literals;

// The generator was late by more: its core was taken away.
constexpr Duration kLate = 10us;

// How long a polling core is watched before the run.
constexpr Duration kWatch = 100ms;

struct Shared {
  // One core's: a count of all cores' would cost a request a line.
  struct alignas(base::kNoSharing) Core {
    std::atomic<uint64_t> finished{0};
  };

  uint64_t Finished() const {
    uint64_t all = 0;
    // Acquire: pairs with RunJob(), for who reads what the jobs wrote.
    for (const Core& core : cores)
      all += core.finished.load(std::memory_order_acquire);
    return all;
  }

  Trace trace;
  Body body;
  uint64_t steps_per_us;
  std::vector<Core> cores;
};

struct Job {
  Shared* shared = nullptr;
  Instant due{};
  Duration late{0};    // The generator's fault.
  Instant finished{};  // Guarded by Shared::Core::finished.
  uint32_t service_ns = 0;
  uint8_t request_class = 0;
  bool refused = false;
};

void RunJob(void* argument) {
  Job& job = *static_cast<Job*>(argument);
  Shared& shared = *job.shared;
  Instant finished;
  if (shared.body == Body::kClock) {
    finished = Burn(shared.trace, job.service_ns);
  } else {
    const uint64_t steps = job.service_ns * shared.steps_per_us / 1000 + 1;
    shared.body == Body::kWork ? Work(shared.trace, steps)
                               : BareWork(shared.trace, steps);
    finished = Clock::now();
  }
  if (!shared.trace.abandoned()) job.finished = finished;
  // The core's alone. Release: pairs with Finished().
  std::atomic<uint64_t>& count = shared.cores[worker::CurrentCore()].finished;
  count.store(count.load(std::memory_order_relaxed) + 1,
              std::memory_order_release);
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

// The share of the time that a thread which only polls on `cpu` is not there.
double StolenShare(int cpu) {
  load::PinCurrentThread(cpu);
  const Instant begun = Clock::now();
  Duration stolen{0};
  for (Instant last = begun; last - begun < kWatch;) {
    const Instant now = Clock::now();
    if (now - last >= Trace::kStall) stolen += now - last;
    last = now;
  }
  return static_cast<double>(stolen.count()) /
         static_cast<double>(Duration(Clock::now() - begun).count());
}

class Run {
 public:
  Run(const SchedOptions& options, std::vector<Arrival> arrivals,
      std::unique_ptr<Runtime> runtime, bool own_core)
      : options_(options),
        arrivals_(std::move(arrivals)),
        runtime_(std::move(runtime)),
        own_core_(own_core),
        shared_{.trace = Trace(options.cores),
                .body = options.body,
                .steps_per_us = options.steps_per_us,
                .cores = std::vector<Shared::Core>(options.cores)},
        jobs_(arrivals_.size()) {
    for (size_t i = 0; i < jobs_.size(); ++i) {
      jobs_[i].shared = &shared_;
      jobs_[i].service_ns = std::max(arrivals_[i].service_ns, 1U);
      jobs_[i].request_class = arrivals_[i].request_class;
    }
  }

  // Sends all requests and waits for their end.
  void Generate() {
    preempt::Timekeeper& timekeeper = runtime_->impl().timekeeper();
    start_ = Clock::now() + 10ms;
    uint64_t spawned = 0;
    for (size_t i = 0; i < jobs_.size(); ++i) {
      Job& job = jobs_[i];
      job.due = start_ + arrivals_[i].at;
      Instant now = Clock::now();
      while (now < job.due) {
        timekeeper.Keep(now);
        if (!own_core_) sched_yield();
        now = Clock::now();
      }
      timekeeper.Keep(now);
      job.late = now - job.due;
      lateness_.Record(static_cast<uint64_t>(job.late.count()));
      job.refused = (options_.limit > 0 &&
                     spawned - shared_.Finished() >= options_.limit) ||
                    !worker::Spawn({.name = "request",
                                    .request_class = job.request_class,
                                    .flow = load::FlowOf(i),
                                    .arrival = job.due},
                                   &RunJob, &job);
      spawned += job.refused ? 0 : 1;
    }
    const Instant last = Clock::now();
    while (shared_.Finished() < spawned) {
      const Instant now = Clock::now();
      timekeeper.Keep(now);
      if (now - last > options_.drain) shared_.trace.Abandon();
      if (!own_core_) sched_yield();
    }
  }

  SchedResult Evaluate(const load::Workload& workload);

 private:
  std::vector<Interval> Disturbances() const;
  std::vector<int64_t> IdealWithStalls() const;
  void TakeStints(const std::vector<Interval>& disturbances,
                  SchedResult& result) const;
  void TakeRates(size_t first, SchedResult& result) const;

  const SchedOptions options_;
  const std::vector<Arrival> arrivals_;
  const std::unique_ptr<Runtime> runtime_;
  const bool own_core_;
  Shared shared_;
  std::vector<Job> jobs_;
  base::Histogram lateness_;
  Instant start_{};
};

// In order, merged where they overlap.
std::vector<Interval> Run::Disturbances() const {
  std::vector<Interval> all;
  for (const Job& job : jobs_) {
    if (job.late > kLate) all.push_back({job.due, job.due + job.late});
  }
  for (const Trace::Core& core : shared_.trace.cores())
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

// The sojourns that the ideal would have had if the same cores had been away at
// the same times, the generator's included: what it sent late came late.
std::vector<int64_t> Run::IdealWithStalls() const {
  std::vector<Arrival> arrivals = arrivals_;
  for (size_t i = 0; i < arrivals.size(); ++i) {
    if (jobs_[i].late > kLate) arrivals[i].at += jobs_[i].late;
    // One after a late one is late itself, if perhaps by less than kLate.
    if (i > 0) arrivals[i].at = std::max(arrivals[i].at, arrivals[i - 1].at);
  }
  Outages outages(options_.cores);
  for (size_t core = 0; core < outages.size(); ++core) {
    for (const Interval& stolen : shared_.trace.cores()[core].stolen) {
      outages[core].push_back(
          {(stolen.from - start_).count(), (stolen.to - start_).count()});
    }
  }
  std::vector<int64_t> sojourns = IdealSojourns(
      arrivals, options_.cores, options_.scheduling.slice.least, outages);
  for (size_t i = 0; i < arrivals.size(); ++i)
    sojourns[i] += (arrivals[i].at - arrivals_[i].at).count();
  return sojourns;
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
  base::Histogram ideal_slowdown_undisturbed;
  base::Histogram ideal_slowdown_with_stalls;

  static uint64_t Slowdown(int64_t sojourn_ns, uint32_t service_ns) {
    return static_cast<uint64_t>(1000.0 * static_cast<double>(sojourn_ns) /
                                 service_ns);
  }

  void Record(const Job& job, bool disturbed, int64_t ideal_ns,
              int64_t ideal_with_stalls_ns) {
    const uint64_t ideal = Slowdown(ideal_ns, job.service_ns);
    ideal_slowdown.Record(ideal);
    ideal_slowdown_with_stalls.Record(
        Slowdown(ideal_with_stalls_ns, job.service_ns));
    if (!disturbed) ideal_slowdown_undisturbed.Record(ideal);
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
        .ideal_slowdown = load::ReadFigures(ideal_slowdown, 1000),
        .ideal_slowdown_undisturbed =
            load::ReadFigures(ideal_slowdown_undisturbed, 1000),
        .ideal_slowdown_with_stalls =
            load::ReadFigures(ideal_slowdown_with_stalls, 1000)};
  }
};

// Slices, and what preemptions cost.
void Run::TakeStints(const std::vector<Interval>& disturbances,
                     SchedResult& result) const {
  std::vector<Instant> arrivals;  // As they came, not as they were due.
  std::vector<Instant> ends;
  for (const Job& job : jobs_) {
    if (job.refused) continue;
    arrivals.push_back(job.due + job.late);
    if (job.finished != Instant{}) ends.push_back(job.finished);
  }
  const Population population(std::move(arrivals), std::move(ends));
  StintFigures undisturbed;
  StintFigures all;
  Duration lost{0};
  Duration burned{0};
  for (const Trace::Core& core : shared_.trace.cores()) {
    const auto add = [&](const auto& left_out, StintFigures& figures) {
      AddStints(core.preempted, population, options_.cores,
                options_.scheduling.slice.least, left_out, figures);
    };
    add([&](Instant from,
            Instant to) { return Overlaps(disturbances, from, to); },
        undisturbed);
    add([](Instant, Instant) { return false; }, all);
    // A step would have been taken anyhow.
    if (core.steps > 0)
      lost += core.lost - core.burned * core.losses / core.steps;
    burned += core.burned;
    for (const Interval& interval : core.stolen)
      result.stolen_time += interval.to - interval.from;
  }
  result.stint_us = load::ReadFigures(undisturbed.ran, 1000);
  result.stint_us_with_stalls = load::ReadFigures(all.ran, 1000);
  result.asked_us = load::ReadFigures(undisturbed.asked, 1000);
  result.work_lost =
      static_cast<double>(lost.count()) /
      std::max(static_cast<double>((lost + burned).count()), 1.0);
}

// What ended after the last arrival does not count: an overloaded scheduler ends
// everything at last.
void Run::TakeRates(size_t first, SchedResult& result) const {
  const Instant begin = jobs_[first].due;
  const Instant end = jobs_.back().due;
  const double seconds =
      std::max(std::chrono::duration<double>(end - begin).count(), 1e-9);
  const auto ended = std::ranges::count_if(jobs_, [&](const Job& job) {
    return job.finished > begin && job.finished <= end;
  });
  result.offered_rps = static_cast<double>(jobs_.size() - first) / seconds;
  result.achieved_rps = static_cast<double>(ended) / seconds;
}

SchedResult Run::Evaluate(const load::Workload& workload) {
  SchedResult result;
  const std::vector<Interval> disturbances = Disturbances();
  const std::vector<int64_t> ideal =
      IdealSojourns(arrivals_, options_.cores, options_.scheduling.slice.least);
  const std::vector<int64_t> ideal_with_stalls = IdealWithStalls();
  const size_t classes = workload.classes().size();
  std::vector<Group> groups(classes + 1);
  const auto first =
      static_cast<size_t>(options_.warmup * static_cast<double>(jobs_.size()));
  for (size_t i = first; i < jobs_.size(); ++i) {
    const Job& job = jobs_[i];
    const bool ended = job.finished != Instant{};
    const bool disturbed =
        ended && Overlaps(disturbances, job.due, job.finished);
    result.refused += job.refused ? 1 : 0;
    result.unfinished += !ended && !job.refused ? 1 : 0;
    result.stolen += disturbed ? 1 : 0;
    for (Group* const group : {&groups[0], &groups[1 + job.request_class]})
      group->Record(job, disturbed, ideal[i], ideal_with_stalls[i]);
  }
  result.requests = jobs_.size() - first;
  result.classes.push_back(groups[0].Read("all"));
  for (size_t i = 0; i < classes && classes > 1; ++i)
    result.classes.push_back(groups[i + 1].Read(workload.classes()[i].name));

  TakeStints(disturbances, result);
  TakeRates(first, result);
  result.own_core = own_core_;
  result.generator_late_us = lateness_.Quantile(0.99) / 1000;
  result.stats = runtime_->stats();
  result.mechanism = runtime_->mechanism();
  result.preemptions = result.stats.preemptions;
  const SchedClass& all = result.classes[0];
  result.score =
      all.slowdown_undisturbed.p99 / all.ideal_slowdown_undisturbed.p99;
  result.score_with_stalls =
      all.slowdown.p99 / all.ideal_slowdown_with_stalls.p99;
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

  cpu_set_t before;
  CPU_ZERO(&before);
  sched_getaffinity(0, sizeof(before), &before);
  const Cpus cpus = ChooseCpus(options.cores);
  const double stolen_share = StolenShare(cpus.workers.front());
  sched_setaffinity(0, sizeof(before), &before);
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
  const bool own_core = cpus.generator >= 0;
  if (own_core) load::PinCurrentThread(cpus.generator);
  auto run = std::make_unique<Run>(options, std::move(*arrivals),
                                   std::move(*runtime), own_core);
  run->Generate();
  sched_setaffinity(0, sizeof(before), &before);
  SchedResult result = run->Evaluate(*workload);
  result.machine_stolen_share = stolen_share;
  return result;
}

}  // namespace yamanote::bench
