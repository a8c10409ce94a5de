// sched.h - `yamanote bench sched`: the load generator inside the process.
//
// Requests arrive by the clock, from a core of its own where there is one, and
// burn their service time on the runtime's cores. No sockets: what is measured is
// the scheduler alone. The generator polls, so it also keeps time.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/histogram.h"
#include "tools/bench/arrivals.h"
#include "tools/load/result.h"
#include "yamanote/runtime.h"

namespace yamanote::bench {

struct SchedOptions {
  Scheduling scheduling;
  unsigned cores = 1;
  std::string service;  // As `yamanote load spin --service`.
  double load = 0.7;    // Of what `cores` could do without any cost.
  Duration length = std::chrono::seconds(5);
  uint64_t seed = 1;
};

// One group of requests.
struct SchedClass {
  std::string name;
  load::Figures latency_us{};
  load::Figures slowdown{};
  // Without those that were in the system when a core was taken away.
  load::Figures latency_us_undisturbed{};
  load::Figures slowdown_undisturbed{};
  load::Figures ideal_slowdown{};  // Of the same requests, see ideal.h.
};

struct SchedResult {
  std::vector<SchedClass> classes;  // The first is "all".
  uint64_t requests = 0;            // That count: without the warm-up.
  uint64_t unfinished = 0;          // At the end; +infinity in the quantiles.
  uint64_t stolen = 0;              // Tagged requests.
  Duration stolen_time{0};          // Of all cores together.
  double offered_rps = 0;
  double achieved_rps = 0;
  bool own_core = false;         // The generator had one.
  double generator_late_us = 0;  // p99.
  uint64_t preemptions = 0;
  load::Figures stint_us{};  // How long preempted requests had run.
  double work_lost = 0;      // Share of the cores' busy time.
  RuntimeStats stats{};
  // p99 slowdown over that of the ideal, undisturbed.
  double score = load::kNoFigure;
};

// Runs it; takes about `length` and up to 10 s for what is left over. Errors as
// Runtime::Create(), DrawArrivals() and Workload::Parse().
Result<SchedResult> RunSched(const SchedOptions& options);

}  // namespace yamanote::bench
