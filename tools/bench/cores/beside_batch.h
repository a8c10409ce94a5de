// beside_batch.h - the scenario `lc+be`: a latency-critical service beside a batch program
// that takes every cycle that it can get.
//
// How cycles are counted: what is left over for the batch program at a load is the time of
// all CPUs, less the processor time that the service took when it was alone (its request
// generator included). The batch program's share is the work that it got done, in CPU
// seconds of when it was alone on all CPUs in the same round, over that. So whatever the
// daemon, the service's polling and changes of hands cost comes off the share.

#pragma once

#include <string>
#include <vector>

#include "tools/bench/cores/setup.h"

namespace yamanote::bench {

struct BesideBatchWay {
  Way way{};
  // Medians and quartiles over the rounds.
  Spread p50_us;
  Spread p99_us;
  Spread p999_us;
  Spread p99_over_alone;
  Spread batch_share;   // Of what was left over; 0 for kAlone.
  Spread service_cpus;  // Processor time over time.
  Spread daemon_cpus;
  Spread generator_late_p99_us;
  Spread grants_per_second;
  uint64_t requests = 0;
  uint64_t unanswered = 0;  // Refused, or not within the patience.
};

struct BesideBatchLoad {
  double load = 0;
  double rate_rps = 0;
  Spread stolen_share;  // Of the CPUs' time, by the hypervisor.
  std::vector<BesideBatchWay> ways;
};

struct BesideBatchResult {
  std::vector<BesideBatchLoad> loads;
  double steps_per_us = 0;
  bool generator_prompt = true;
};

Result<BesideBatchResult> RunBesideBatch(const CoresOptions& options);

}  // namespace yamanote::bench
