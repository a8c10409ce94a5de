// native.h - one run of a scenario whose requests are native threads.

#pragma once

#include "sim/source.h"
#include "tools/sim/scenario.h"

namespace yamanote::simulation {

struct NativeCounts {
  uint64_t messages = 0;
  uint64_t commits = 0;         // Refused ones included.
  uint64_t failed_commits = 0;  // Refused.
  uint64_t preemptions = 0;
};

// The most threads that there are at a time; a request beyond is refused, as one beyond its
// class' limit is.
inline constexpr unsigned kMostNativeThreads = 65536;

// Runs the requests of `source` as threads of a modelled kernel that agents schedule.
// Requires: what MakeScenario() checks.
NativeCounts RunNative(const Scenario& scenario, uint64_t seed,
                       sim::Source& source, sim::Observer& observer);

// An error that names the key if the scenario cannot be one of native threads.
Result<void> CheckNative(const tools::Config& config, Scenario& scenario);

}  // namespace yamanote::simulation
