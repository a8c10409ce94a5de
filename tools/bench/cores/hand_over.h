// hand_over.h - the scenario `handover`: how long it takes until a core that the daemon has
// given away runs the new owner's first task.
//
// Two CPUs and a real daemon. The taker, a runtime, has one of them guaranteed, and gets more
// work than that one can do, again and again; so it is granted the other one. Who has that
// before is the holder, whose manners are the path.

#pragma once

#include <vector>

#include "base/histogram.h"
#include "tools/bench/cores/setup.h"

namespace yamanote::bench {

enum class Path : uint8_t {
  kKept,         // The taker keeps it: it wakes its worker itself.
  kIdle,         // Nobody has the core: its worker is granted it, and woken.
  kVoluntary,    // The holder leaves by itself, and the daemon hears of it.
  kCooperative,  // It looks at its command all the time, and leaves when asked.
  kSignal,       // It leaves when it gets the late signal.
  kForced,       // It does not leave; its thread is moved away.
};
inline constexpr const char* kPaths[] = {"kept",        "idle",   "voluntary",
                                         "cooperative", "signal", "forced"};
inline constexpr size_t kPathCount = 6;

struct PathResult {
  Path path{};
  // All rounds, ns.
  base::Histogram from_decision;  // The daemon's; kKept: the need.
  base::Histogram from_need;      // The arrival of the work.
  base::Histogram
      from_leave;  // From when the holder found that it is to leave.
  std::vector<double> decision_medians_us;  // By round.
};

struct HandOverResult {
  std::vector<PathResult> paths;
  // The kernel alone, ns: from a futex's wake-up to the other thread's first instruction.
  base::Histogram same_core;   // The waker goes to sleep.
  base::Histogram processes;   // The same, and the other is of another process.
  base::Histogram other_core;  // The other is idle.
  std::vector<double> same_core_medians_us;
  std::vector<double> processes_medians_us;
  std::vector<double> other_core_medians_us;
};

Result<HandOverResult> RunHandOver(const CoresOptions& options);

}  // namespace yamanote::bench
