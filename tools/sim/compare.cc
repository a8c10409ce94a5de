// compare.cc - a search for each candidate, and what its last step says.

#include "tools/sim/compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <thread>

#include "tools/sim/limits.h"
#include "tools/sim/points.h"

namespace yamanote::simulation {
namespace {

constexpr double kLowestLoad = 0.02;
constexpr double kPrecision = 0.02;
// A share of the cores' time that is worth a word.
constexpr double kMuch = 0.03;

// What stands out in `outcome`, which did not meet the objective.
std::string Explain(const Scenario& scenario, const Outcome& outcome,
                    const load::Objective& objective,
                    const load::PointResult& point) {
  std::string why;
  const auto say = [&](const std::string& text) {
    why += (why.empty() ? "" : "; ") + text;
  };
  for (const load::Limit& limit : objective.limits) {
    const double value = limit.ValueIn(point, load::Samples::kAll);
    if (value <= limit.limit) continue;
    say(fmt::format(
        "at load {:.2f} {}{} of {} is {:.3g}{}", scenario.load, limit.quantile,
        limit.quantity == load::Limit::Quantity::kSlowdown ? " slowdown"
                                                           : " latency",
        limit.request_class.empty() ? "all" : limit.request_class, value,
        limit.quantity == load::Limit::Quantity::kSlowdown ? "" : " us"));
  }
  if (outcome.refused > 0)
    say(fmt::format("{} requests refused", outcome.refused));
  const double dispatcher =
      DemandOf(scenario).dispatcher * scenario.rate_rps / 1e9;
  if (dispatcher > 0.5) {
    say(fmt::format("the dispatcher is busy for {:.0f}% of the time",
                    100 * dispatcher));
  } else if (outcome.idle_beside_waiting > kMuch / 3) {
    say(fmt::format(
        "cores are idle for {:.1f}% of the time while requests wait "
        "for others ({} placement)",
        100 * outcome.idle_beside_waiting,
        ToString(scenario.scheduling.placement)));
  }
  if (outcome.beside > kMuch)
    say(fmt::format("{:.1f}% of the cores' time goes into costs",
                    100 * outcome.beside));
  const double spread =
      outcome.classes.size() > 1
          ? outcome.classes.back().latency_us.mean.value /
                std::max(outcome.classes[1].latency_us.p50.value, 1e-9)
          : 1;
  if (!scenario.oracle && outcome.preemptions == 0 && spread > 3)
    say("nobody is preempted, so short requests wait for long ones");
  return why;
}

Ranked RankOne(const Candidate& candidate, const load::Objective& objective,
               const std::function<bool()>& stopped) {
  Progress progress;
  Ranked ranked{.label = candidate.label, .scenario = candidate.scenario};
  const double ideal =
      1e9 * candidate.scenario.cores / candidate.scenario.mean_service_ns;
  const double highest = HighestRate(candidate.scenario);
  ranked.limit_load = highest / ideal;
  struct Step {
    Scenario scenario;
    Outcome outcome;
    load::PointResult point;
  };
  std::vector<Step> steps;
  const auto measure = [&](double rate) -> Result<load::PointResult> {
    Step step{.scenario = candidate.scenario};
    step.scenario.rate_rps = rate;
    step.scenario.load = rate / ideal;
    const std::vector<Outcome> outcomes =
        Simulate({&step.scenario, 1}, 1, progress, stopped);
    if (outcomes.empty())
      return MakeError(ErrorCode::kCancelled, "interrupted");
    step.outcome = outcomes.front();
    step.point = ToPoint(step.scenario, step.outcome);
    steps.push_back(step);
    return step.point;
  };
  const double high = std::min(0.995 * highest, ideal);
  const load::SearchOptions options{
      .objective = objective,
      .low_rps = std::min(kLowestLoad * ideal, high / 2),
      .high_rps = high,
      .precision = kPrecision};
  const Result<load::SearchOutcome> outcome =
      load::Search(options, measure, [](const load::SearchStep&) {}, stopped);
  if (!outcome) {
    ranked.why = outcome.error().message;
    return ranked;
  }
  ranked.best_rps = outcome->search.best_rps;
  ranked.best_load = ranked.best_rps / ideal;
  ranked.points = outcome->points;
  // The lowest load that does not meet it says most.
  std::ranges::sort(steps, {},
                    [](const Step& step) { return step.scenario.rate_rps; });
  const auto next = std::ranges::find_if(steps, [&](const Step& step) {
    return step.scenario.rate_rps > ranked.best_rps * 1.0001;
  });
  if (next != steps.end()) {
    ranked.why = Explain(next->scenario, next->outcome, objective, next->point);
  } else {
    ranked.why = fmt::format("beyond load {:.2f} it cannot be stable",
                             ranked.limit_load);
  }
  return ranked;
}

}  // namespace

std::vector<Ranked> Compare(std::span<const Candidate> candidates,
                            const load::Objective& objective, unsigned jobs,
                            const std::function<bool()>& stopped) {
  std::vector<Ranked> ranked(candidates.size());
  // Relaxed: only hands out numbers; joining the threads orders the results.
  std::atomic<std::size_t> next{0};
  std::atomic<bool> stop{false};
  std::atomic<unsigned> left{0};
  const auto count =
      static_cast<unsigned>(std::min<std::size_t>(jobs, candidates.size()));
  left.store(count, std::memory_order_relaxed);
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < count; ++i) {
    threads.emplace_back([&] {
      for (std::size_t n; (n = next.fetch_add(1, std::memory_order_relaxed)) <
                          candidates.size();) {
        ranked[n] = RankOne(candidates[n], objective, [&] {
          return stop.load(std::memory_order_relaxed);
        });
      }
      left.fetch_sub(1, std::memory_order_relaxed);
    });
  }
  while (left.load(std::memory_order_relaxed) != 0) {
    if (stopped()) stop.store(true, std::memory_order_relaxed);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  for (std::thread& thread : threads) thread.join();
  if (stop.load(std::memory_order_relaxed)) return {};
  std::ranges::sort(ranked, [](const Ranked& one, const Ranked& other) {
    return one.best_load != other.best_load ? one.best_load > other.best_load
                                            : one.label < other.label;
  });
  return ranked;
}

}  // namespace yamanote::simulation
