// sched.h - `yamanote bench sched`: the load generator inside the process.
//
// Requests arrive by the clock, from a core of its own where there is one, and
// burn their service time on the runtime's cores. No sockets: what is measured is
// the scheduler alone. The generator polls, so it also keeps time.
//
// Two scores. The machine takes cores away; whoever was in the system then is
// tagged, and `score` is of the others, as is the ideal beside it. That leaves out
// the longest stays rather than the short ones, on both sides. `score_with_stalls`
// leaves out nobody: its ideal stands still when the cores were away. A core that
// was away between two requests is not known: it counts against the scheduler.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/histogram.h"
#include "tools/bench/arrivals.h"
#include "tools/load/result.h"
#include "yamanote/runtime.h"

namespace yamanote::bench {

// What a request does for its service time.
enum class Body : uint8_t {
  kClock,  // Burns it by the clock, traced (trace.h).
  kWork,  // A fixed amount of work, compiled with probes. Nothing is traced, so
          // what is lost to caches and probes shows, in `achieved_rps`.
  kBare,  // The same work without probes: never preempted.
};

struct SchedOptions {
  Scheduling scheduling;
  unsigned cores = 1;
  std::string service;  // As `yamanote load spin --service`.
  double load = 0.7;    // Of what `cores` could do without any cost.
  Duration length = std::chrono::seconds(5);
  double warmup = 0.1;  // Share of the arrivals that does not count.
  uint64_t seed = 1;
  Body body = Body::kClock;
  unsigned steps_per_us = 300;  // Of work.
  size_t limit = 0;  // Requests in the system beyond are refused. 0: none.
  // How long it waits after the last arrival before it abandons what is left.
  Duration drain = std::chrono::seconds(10);
};

// One group of requests.
struct SchedClass {
  std::string name;
  load::Figures latency_us{};
  load::Figures slowdown{};
  // Without those that were in the system when a core was taken away.
  load::Figures latency_us_undisturbed{};
  load::Figures slowdown_undisturbed{};
  load::Figures ideal_slowdown{};  // Of all requests, see ideal.h.
  load::Figures ideal_slowdown_undisturbed{};
  load::Figures ideal_slowdown_with_stalls{};  // All, with the same outages.
};

struct SchedResult {
  std::vector<SchedClass> classes;  // The first is "all".
  uint64_t requests = 0;            // That count: without the warm-up.
  uint64_t unfinished = 0;          // At the end; +infinity in the quantiles.
  uint64_t refused = 0;             // By `limit`; +infinity, too.
  uint64_t stolen = 0;              // Tagged requests.
  Duration stolen_time{0};          // Of all cores together.
  // Of the cores' time: longer than kStall away, on a core that only polled just
  // before the run. What `stolen_time` holds beyond that is the scheduler's.
  double machine_stolen_share = 0;
  // From the end of the warm-up to the last arrival.
  double offered_rps = 0;
  double achieved_rps = 0;
  bool own_core = false;                   // The generator had one.
  double generator_late_us = 0;            // p99.
  Mechanism mechanism = Mechanism::kNone;  // In use.
  uint64_t preemptions = 0;
  load::Figures stint_us{};  // See stints.h; of the undisturbed.
  load::Figures stint_us_with_stalls{};
  load::Figures asked_us{};
  // Between a preempted request's last step and the next one's first, less an ordinary
  // step; share of the cores' busy time.
  double work_lost = 0;
  RuntimeStats stats{};
  // p99 slowdown over that of the ideal.
  double score = load::kNoFigure;
  double score_with_stalls = load::kNoFigure;
};

// Runs it; takes about `length` and up to `drain` for what is left over. Errors as
// Runtime::Create(), DrawArrivals() and Workload::Parse().
Result<SchedResult> RunSched(const SchedOptions& options);

}  // namespace yamanote::bench
