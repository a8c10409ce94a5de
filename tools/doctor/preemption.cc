// preemption.cc - what it costs to preempt a task, and the machine as a simulator sees it.

#include <sched.h>

#include <algorithm>
#include <memory>

#include "tools/doctor/costs.h"
#include "yamanote/preempt.h"
#include "yamanote/runtime.h"
#include "yamanote/thread.h"

namespace yamanote::tools {
namespace {

// Lines that change cores, counted by bench/dispatch: a task sent to a worker takes the
// dispatcher four. A stolen one takes its victim's queue, its lock's holder and itself.
constexpr int kLinesOfDispatch = 4;
constexpr int kLinesOfSteal = 3;

double MedianOf(const Costs& costs, std::string_view key) {
  const auto found = std::ranges::find(costs.costs, key, &Cost::key);
  return found == costs.costs.end() ? 0 : found->median_ns;
}

Duration Nanos(double ns) {
  return Duration(static_cast<int64_t>(std::max(ns, 0.0) + 0.5));
}

}  // namespace

// Two tasks that never stop by themselves: from the last step of the one to the first of
// the other, each step being a look at the clock and a probe. The other CPU's core has
// nothing to do, so it polls and keeps time, as a dispatcher, an idle core or a generator
// of load does.
std::vector<double> TimePreemptions(std::span<const int> cpus, Duration limit) {
  RuntimeOptions options;
  options.cpus.assign(cpus.begin(), cpus.end());
  options.spin = 2 * limit;
  // What is spawned goes to the cores in turn.
  const Result<Scheduling> turns = FindPreset("ix");
  if (!turns) return {};
  options.scheduling = *turns;
  options.scheduling.order = "rr";
  options.scheduling.slice = std::chrono::microseconds(20);
  Result<std::unique_ptr<Runtime>> runtime = Runtime::Create(options);
  if (!runtime) return {};
  std::vector<double> samples;
  // The kernel thread of the first CPU's core runs all that use these.
  Instant last = Clock::now();
  int who = 0;
  const Instant end = last + limit;
  const auto step = [&](int self) {
    if (sched_getcpu() != cpus.front()) return;
    Instant now;
    do {
      now = Clock::now();
      if (who != self)
        samples.push_back(static_cast<double>(ToNanos(now - last)));
      last = now;
      who = self;
      Probe();
    } while (now < end);
  };
  (*runtime)->Run([&] {
    std::vector<Thread> threads;
    for (std::size_t i = 0; i < 2 * cpus.size(); ++i)
      threads.emplace_back([&step, i] { step(static_cast<int>(i)); });
    for (Thread& thread : threads) thread.join();
  });
  return samples;
}

sim::Costs SimulationCosts(const Costs& found) {
  const double hop = MedianOf(found, "cache_line_hop");
  const double user_switch = MedianOf(found, "user_switch");
  return {
      .context_switch = Nanos(user_switch),
      .preempt_receiver = Nanos(MedianOf(found, "preemption") - user_switch -
                                MedianOf(found, "clock_read")),
      .preempt_sender = Nanos(hop),
      .dispatch = Nanos(kLinesOfDispatch * hop),
      .hop = Nanos(hop),
      .steal = Nanos(kLinesOfSteal * hop),
      .network = Nanos(MedianOf(found, "udp_round_trip") / 2),
      .core_grant = Nanos(MedianOf(found, "core_grant")),
      .core_revoke = Nanos(MedianOf(found, "core_revoke"))};
}

}  // namespace yamanote::tools
