// slice.h - what one way did in one slice of time.

#pragma once

#include <span>
#include <vector>

#include "base/histogram.h"
#include "tools/bench/cores/setup.h"

namespace yamanote::bench {

// The first part of a slice does not count: cores find their owners.
inline constexpr Duration kSettling = std::chrono::milliseconds(150);

struct Slice {
  // By service; those that were sent after kSettling.
  std::vector<std::vector<ServiceProcess::Answer>> answers;
  // Over the time that counts: CPUs, and their shares.
  double service_cpus = 0;
  double daemon_cpus = 0;
  double batch_units_per_second = 0;
  double stolen_share = 0;  // By the hypervisor.
  double grants_per_second = 0;
  double generator_late_p99_us = 0;
  bool generator_prompt = true;
};

// Runs the services, one for each of `arrivals`, and the batch program if `with_batch`, for
// kSettling and `options.round`.
Result<Slice> MeasureSlice(const CoresOptions& options, Way way,
                           std::span<const std::vector<Arrival>> arrivals,
                           bool with_batch, double steps_per_us);

// The batch program alone on all CPUs, units of work a second.
Result<double> MeasureBatchAlone(const CoresOptions& options);

// Latencies, ns; unanswered ones are infinite.
base::Histogram LatencyOf(std::span<const ServiceProcess::Answer> answers);

}  // namespace yamanote::bench
