// changing.h - the scenarios `step` and `anticorrelated`: loads that change at once.
//
// step: one service, beside the batch program, whose load goes from nearly nothing to
// `loads` and back, for half a period each. All periods are laid over each other and cut
// into buckets of 100 us by when requests arrived.
//
// anticorrelated: two services without a batch program; one has a burst while the other
// has nearly nothing, in turn.

#pragma once

#include <vector>

#include "tools/bench/cores/setup.h"

namespace yamanote::bench {

// Of all CPUs, where the load is low.
inline constexpr double kLowLoad = 0.05;
inline constexpr Duration kBucket = std::chrono::microseconds(100);

struct StepBucket {
  uint64_t requests = 0;
  double p50_us = 0;  // NaN: no request.
  double p99_us = 0;
};

struct StepWay {
  Way way{};
  std::vector<StepBucket> buckets;  // From the step up.
  // p99 in the last half of the high, and of the low, part.
  double high_p99_us = 0;
  double low_p99_us = 0;
  // From a step until the p99 of half a millisecond (low: of two) is within 1.5 times
  // that; infinite: never.
  double up_us = 0;
  double down_us = 0;
  Spread batch_share;
};

struct StepLoad {
  double load = 0;
  unsigned periods = 0;
  std::vector<StepWay> ways;
};

Result<std::vector<StepLoad>> RunSteps(const CoresOptions& options);

struct AnticorrelatedWay {
  Way way{};
  // Of both services' requests.
  Spread p50_us;
  Spread p99_us;
  Spread p999_us;
  Spread p99_over_alone;
  Spread service_cpus;
  Spread daemon_cpus;
  Spread grants_per_second;
  uint64_t requests = 0;
  uint64_t unanswered = 0;
};

struct AnticorrelatedLoad {
  double load = 0;  // Of all CPUs, during a burst.
  std::vector<AnticorrelatedWay> ways;
};

Result<std::vector<AnticorrelatedLoad>> RunAnticorrelated(
    const CoresOptions& options);

}  // namespace yamanote::bench
