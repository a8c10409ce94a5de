// combine.h - makes the runs of one load one point.

#pragma once

#include <cstdint>
#include <span>

#include "tools/load/account.h"
#include "tools/load/result.h"

namespace yamanote::load {

enum class Combining : uint8_t {
  // The samples of all runs together: rare requests count most precisely.
  kSum,
  // Of each figure the median over the runs. A machine that takes a core away
  // for milliseconds, now and then, spoils single runs; short ones then differ
  // less by this than by their sum.
  kMedian,
};

// "sum", "median".
const char* ToString(Combining combining);

// One seed's run of a load.
struct Run {
  Account account;
  RunResult result;
};

// Requires: `runs` is not empty and of one workload. Counts of requests are sums
// over all runs in any case: no median may hide a loss. By medians, only runs
// that are valid count, and at least half of them must be, else the point is not.
PointResult Combine(double offered_rps, std::span<const Run> runs,
                    Combining combining);

}  // namespace yamanote::load
