// native.cc - requests as native threads: the agents' code, a modelled kernel.
//
// Each request is a thread that is created when it comes, runs for what it takes, and ends.

#include "tools/sim/native.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/check.h"
#include "dispatch/admission.h"
#include "native/agents.h"
#include "native/hint_table.h"
#include "native/model.h"

namespace yamanote::simulation {

namespace {

// A hint's limits.
constexpr Duration kLeastDue = std::chrono::microseconds(1);
constexpr Duration kMostDue = std::chrono::hours(1);

Hint HintOf(const sim::Arrival& arrival) {
  Hint hint;
  hint.request_class = arrival.request_class;
  if (arrival.deadline != kNever) {
    hint.due = std::clamp<Duration>(arrival.deadline - arrival.at, kLeastDue,
                                    kMostDue);
  }
  return hint;
}

}  // namespace

Result<void> CheckNative(const tools::Config& config, Scenario& scenario) {
  scenario.native = config.sim.native;
  if (!scenario.native) return {};
  if (scenario.oracle) {
    return Wrong(fmt::format(
        "order is \'{}\', an ideal, but sim.native is true, and agents run "
        "real orders only; choose one of those that `yamanote policies` lists",
        OrderName(scenario)));
  }
  if (config.arbiter.interval != Duration::zero()) {
    return Wrong(
        "sim.native is true and arbiter.interval is set, but an enclave has "
        "its "
        "CPUs to itself; leave one of the two out");
  }
  Result<Scheduling> native =
      native::ForNative(scenario.scheduling, scenario.cores);
  if (!native) {
    return Wrong(
        fmt::format("{} (sim.native is true)", native.error().message));
  }
  scenario.scheduling = *std::move(native);
  return {};
}

NativeCounts RunNative(const Scenario& scenario, uint64_t seed,
                       sim::Source& source, sim::Observer& observer) {
  native::ModelKernel kernel(
      {.cores = scenario.cores,
       .max_threads = kMostNativeThreads,
       .costs = {.receive = scenario.costs.message,
                 .commit = scenario.costs.commit,
                 .group = Duration::zero(),
                 .interrupt = scenario.costs.hop,
                 .change = scenario.costs.context_switch,
                 .wake_agent = scenario.costs.agent_wake},
       .seed = seed});
  native::AgentOptions options;
  options.scheduling = scenario.scheduling;
  // Each thread has three messages in it at most.
  options.queue_capacity = 4 * kMostNativeThreads;
  Result<native::HintTable> hints =
      native::HintTable::Create(kMostNativeThreads);
  YAMANOTE_CHECK(hints, "there is memory for hints");
  options.hints = &*hints;
  const auto agents = native::Agents::Create(kernel, options, kernel.now());
  YAMANOTE_CHECK(agents, "CheckNative() accepted what agents refuse");
  kernel.Attach(agents->get());

  dispatch::Admission admission(scenario.scheduling.classes,
                                dispatch::Callers::kOneThread);
  while (const sim::Arrival* const next = source.Next()) {
    const sim::Arrival arrival = *next;
    kernel.RunUntil(arrival.at);
    if (kernel.threads() >= kMostNativeThreads ||
        !admission.TryAdmit(arrival.request_class)) {
      observer.Refused(arrival);
      continue;
    }
    const native::ThreadId thread =
        kernel.Spawn([&observer, &admission, arrival,
                      ran = false](Instant now) mutable -> native::Action {
          if (!std::exchange(ran, true)) {
            return {.kind = native::Action::Kind::kRun,
                    .time = arrival.service};
          }
          observer.Finished(arrival, now);
          admission.Release(arrival.request_class);
          return {};
        });
    // What the program would say of it.
    native::StatusWord word{};
    kernel.Read(thread, word);
    [[maybe_unused]] const Result<void> said =
        hints->Write(word.tid, HintOf(arrival));
  }
  YAMANOTE_CHECK(kernel.RunUntilAllEnd(kNever),
                 "agents sleep, but not every thread has ended");

  const native::ModelKernel::Counts& counts = kernel.counts();
  NativeCounts result{.messages = counts.messages,
                      .preemptions = counts.preemptions};
  for (int i = 1; i < native::kCommitResults; ++i) {
    result.commits += counts.results[i];
    if (i != native::kCommitted) result.failed_commits += counts.results[i];
  }
  return result;
}

}  // namespace yamanote::simulation
