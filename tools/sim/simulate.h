// simulate.h - runs scenarios, several at a time, and says what came of each.

#pragma once

#include <atomic>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "sim/engine.h"
#include "sim/statistics.h"
#include "tools/sim/scenario.h"

namespace yamanote::simulation {

struct ClassOutcome {
  std::string name;
  sim::Figures latency_us{};
  sim::Figures slowdown{};
};

struct Outcome {
  std::vector<ClassOutcome> classes;  // The first is "all".
  uint64_t refused = 0;               // After the warm-up.
  // Of all runs, the warm-up included.
  uint64_t requests = 0;
  uint64_t preemptions = 0;
  uint64_t steals = 0;
  double achieved_rps = 0;  // Answered per second of virtual time.
  double busy = 0;  // Share of the cores' time that is requests' own work.
  double idle_beside_waiting =
      0;              // That cores were idle while requests waited.
  double beside = 0;  // That the costs take.
  // With an arbiter:
  double cores_held = 0;   // On average.
  double grants_rps = 0;   // Per second of virtual time, of this application.
  double efficiency = 0;   // Share of the time held that is requests' own work.
  double batch_cores = 0;  // That a batch program had, on average.
  // With agents of native threads; `beside` and `idle_beside_waiting` are not known then.
  uint64_t commits = 0;
  uint64_t failed_commits = 0;
  uint64_t messages = 0;
  Duration adaptive_slice = kNoPreemption;  // In the end, of the last run.
};

// What is done of all, for who shows it. Any thread reads.
struct Progress {
  std::atomic<uint64_t> requests{0};
  uint64_t of = 0;  // Constant while it runs.
};

// Runs each scenario's runs, `jobs` at a time, on kernel threads of its own. The outcomes
// do not depend on `jobs`. `stopped` is asked now and then; true ends it, and nothing is
// returned.
std::vector<Outcome> Simulate(std::span<const Scenario> scenarios,
                              unsigned jobs, Progress& progress,
                              const std::function<bool()>& stopped);

}  // namespace yamanote::simulation
