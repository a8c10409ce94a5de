// preemption.cc - what it costs to preempt a task, and the machine as a simulator sees it.

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
// the other, each step being a look at the clock and a probe.
std::vector<double> TimePreemptions(int cpu, Duration limit) {
  RuntimeOptions options;
  options.cpus = {cpu};
  const Result<Scheduling> turns = FindPreset("tq");
  if (!turns) return {};
  options.scheduling = *turns;
  options.scheduling.slice = std::chrono::microseconds(20);
  Result<std::unique_ptr<Runtime>> runtime = Runtime::Create(options);
  if (!runtime) return {};
  std::vector<double> samples;
  // One kernel thread runs both.
  Instant last = Clock::now();
  int who = 0;
  const Instant end = last + limit;
  const auto step = [&](int self) {
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
    Thread other([&] { step(1); });
    step(0);
    other.join();
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
      .network = Nanos(MedianOf(found, "udp_round_trip") / 2)};
}

}  // namespace yamanote::tools
