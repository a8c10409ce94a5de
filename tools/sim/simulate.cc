// simulate.cc - one engine for each run, on as many kernel threads as there may be.

#include "tools/sim/simulate.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <mutex>
#include <thread>

#include "sim/machine.h"
#include "sim/oracle.h"
#include "tools/sim/native.h"

namespace yamanote::simulation {
namespace {

// Counts what passes, and ends early if it is told to.
class Watched final : public sim::Source {
 public:
  Watched(sim::Source& source, Progress& progress,
          const std::atomic<bool>& stop)
      : source_(source), progress_(progress), stop_(stop) {}
  ~Watched() override { Tell(); }

  std::span<const sim::Arrival> NextFew() override {
    if (untold_ >= kTellEvery) {
      // Relaxed, both: a hint for who shows it, and one to stop.
      if (stop_.load(std::memory_order_relaxed)) return {};
      Tell();
    }
    const std::span<const sim::Arrival> few = source_.NextFew();
    untold_ += few.size();
    return few;
  }

 private:
  static constexpr uint64_t kTellEvery = 65536;
  void Tell() {
    progress_.requests.fetch_add(untold_, std::memory_order_relaxed);
    untold_ = 0;
  }

  sim::Source& source_;
  Progress& progress_;
  const std::atomic<bool>& stop_;
  uint64_t untold_ = 0;
};

struct Run {
  std::unique_ptr<sim::Statistics> statistics;
  uint64_t requests = 0;
  uint64_t answered = 0;
  uint64_t preemptions = 0;
  uint64_t steals = 0;
  Duration length{0};
  Duration service{0};
  Duration beside{0};
  Duration idle_beside_waiting{0};
  Duration held{0};
  Duration batch{0};
  uint64_t grants = 0;
  NativeCounts native{};
  Duration adaptive_slice = kNoPreemption;
};

void Note(const sim::Engine& engine, Run& run) {
  run.preemptions = engine.preemptions();
  run.steals = engine.steals();
  run.beside = engine.time().beside;
  run.idle_beside_waiting = engine.time().idle_beside_waiting;
  run.adaptive_slice = engine.adaptive_slice();
}

void RunShared(const Scenario& scenario, sim::Source& source,
               sim::Observer& observer, Run& run) {
  std::vector<sim::Application> apps = {
      {.limits = {.guaranteed = scenario.guaranteed, .most = scenario.cores},
       .scheduling = scenario.scheduling,
       .source = &source,
       .observer = &observer}};
  if (scenario.batch) {
    apps.push_back({.limits = {.most = scenario.cores, .best_effort = true}});
  }
  sim::Machine machine({.cores = scenario.cores,
                        .costs = scenario.costs,
                        .interval = scenario.arbiter.interval,
                        .park_after = scenario.arbiter.park_after,
                        .policies = scenario.arbiter.policies},
                       apps);
  machine.Run();
  Note(*machine.engine(0), run);
  run.held = machine.holding(0).held;
  run.grants = machine.holding(0).grants;
  if (scenario.batch) run.batch = machine.holding(1).held;
}

Run RunOne(const Scenario& scenario, uint64_t seed, Progress& progress,
           const std::atomic<bool>& stop) {
  Run run{.statistics = std::make_unique<sim::Statistics>(
              sim::StatisticsOptions{.requests = scenario.requests,
                                     .warmup = scenario.warmup,
                                     .classes = static_cast<unsigned>(
                                         scenario.scheduling.classes.size())}),
          .requests = scenario.requests};
  const std::unique_ptr<sim::Source> source = MakeSource(scenario, seed);
  Watched watched(*source, progress, stop);
  sim::Statistics& observer = *run.statistics;
  if (scenario.oracle) {
    sim::RunOracle(*scenario.oracle, scenario.cores, watched, observer);
  } else if (scenario.arbiter.interval != Duration::zero()) {
    RunShared(scenario, watched, observer, run);
  } else if (scenario.native) {
    run.native = RunNative(scenario, seed, watched, observer);
    run.preemptions = run.native.preemptions;
  } else {
    sim::Engine engine({.scheduling = scenario.scheduling,
                        .cores = scenario.cores,
                        .costs = scenario.costs},
                       watched, observer);
    engine.Run();
    Note(engine, run);
  }
  run.statistics->Close();
  run.answered = observer.answered();
  run.service = observer.service();
  run.length = observer.last().time_since_epoch();
  return run;
}

Outcome Combine(const Scenario& scenario, std::vector<Run>& runs) {
  Outcome outcome;
  sim::Statistics& all = *runs.front().statistics;
  double length = 0;
  double service = 0;
  double beside = 0;
  double idle = 0;
  double held = 0;
  double batch = 0;
  double grants = 0;
  uint64_t answered = 0;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    if (i > 0) all.Merge(*runs[i].statistics);
    outcome.requests += runs[i].requests;
    outcome.preemptions += runs[i].preemptions;
    outcome.steals += runs[i].steals;
    answered += runs[i].answered;
    length += static_cast<double>(runs[i].length.count());
    service += static_cast<double>(runs[i].service.count());
    beside += static_cast<double>(runs[i].beside.count());
    idle += static_cast<double>(runs[i].idle_beside_waiting.count());
    held += static_cast<double>(runs[i].held.count());
    batch += static_cast<double>(runs[i].batch.count());
    grants += static_cast<double>(runs[i].grants);
    outcome.commits += runs[i].native.commits;
    outcome.failed_commits += runs[i].native.failed_commits;
    outcome.messages += runs[i].native.messages;
  }
  outcome.refused = all.refused();
  outcome.adaptive_slice = runs.back().adaptive_slice;
  if (length > 0) {
    outcome.achieved_rps = 1e9 * static_cast<double>(answered) / length;
    outcome.busy = service / length / scenario.cores;
    constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();
    outcome.beside =
        scenario.native ? kUnknown : beside / length / scenario.cores;
    outcome.idle_beside_waiting =
        scenario.native ? kUnknown : idle / length / scenario.cores;
    outcome.cores_held = held / length;
    outcome.grants_rps = 1e9 * grants / length;
    outcome.efficiency = held > 0 ? service / held : 0;
    outcome.batch_cores = batch / length;
  }
  outcome.classes.push_back({.name = "all",
                             .latency_us = all.Latency(sim::Statistics::kAll),
                             .slowdown = all.Slowdown(sim::Statistics::kAll)});
  const std::vector<std::string> names = ClassNames(scenario);
  for (unsigned i = 0; i < names.size() && names.size() > 1; ++i) {
    outcome.classes.push_back({.name = names[i],
                               .latency_us = all.Latency(i),
                               .slowdown = all.Slowdown(i)});
  }
  return outcome;
}

}  // namespace

std::vector<Outcome> Simulate(std::span<const Scenario> scenarios,
                              unsigned jobs, Progress& progress,
                              const std::function<bool()>& stopped) {
  struct Task {
    std::size_t scenario;
    unsigned run;
  };
  std::vector<Task> tasks;
  std::vector<std::vector<Run>> runs(scenarios.size());
  for (std::size_t i = 0; i < scenarios.size(); ++i) {
    runs[i].resize(scenarios[i].runs);
    for (unsigned run = 0; run < scenarios[i].runs; ++run)
      tasks.push_back({i, run});
    progress.of += scenarios[i].requests * scenarios[i].runs;
  }
  // Relaxed: the tasks were there before the threads, and their results are read when
  // these have ended.
  std::atomic<std::size_t> next{0};
  std::atomic<bool> stop{false};
  std::atomic<unsigned> left{0};
  const auto work = [&] {
    for (std::size_t i;
         (i = next.fetch_add(1, std::memory_order_relaxed)) < tasks.size() &&
         !stop.load(std::memory_order_relaxed);) {
      const Scenario& scenario = scenarios[tasks[i].scenario];
      runs[tasks[i].scenario][tasks[i].run] =
          RunOne(scenario, scenario.seed + tasks[i].run, progress, stop);
    }
    left.fetch_sub(1, std::memory_order_relaxed);
  };
  std::vector<std::thread> threads;
  const auto count =
      static_cast<unsigned>(std::min<std::size_t>(jobs, tasks.size()));
  left.store(count, std::memory_order_relaxed);
  for (unsigned i = 0; i < count; ++i) threads.emplace_back(work);
  while (left.load(std::memory_order_relaxed) != 0) {
    if (stopped()) stop.store(true, std::memory_order_relaxed);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  for (std::thread& thread : threads) thread.join();
  std::vector<Outcome> outcomes;
  if (stop.load(std::memory_order_relaxed)) return outcomes;
  for (std::size_t i = 0; i < scenarios.size(); ++i)
    outcomes.push_back(Combine(scenarios[i], runs[i]));
  return outcomes;
}

}  // namespace yamanote::simulation
