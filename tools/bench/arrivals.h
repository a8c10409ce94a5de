// arrivals.h - who comes when: the same stream for every scheduler of one seed.
//
// Poisson arrivals (an open loop: they do not wait for anybody's answer), drawn
// before the run so that drawing costs nothing during it.

#pragma once

#include <cstdint>
#include <vector>

#include "tools/load/workload.h"
#include "yamanote/result.h"
#include "yamanote/time.h"

namespace yamanote::bench {

struct Arrival {
  Duration at{0};  // After the start.
  uint32_t service_ns = 0;
  uint8_t request_class = 0;
};

// More would need gigabytes.
inline constexpr size_t kMostArrivals = 20'000'000;

// Draws the arrivals of `length` at `rate_rps`. kInvalidArgument if there would
// be more than kMostArrivals, or none.
Result<std::vector<Arrival>> DrawArrivals(const load::Workload& workload,
                                          double rate_rps, Duration length,
                                          uint64_t seed);

}  // namespace yamanote::bench
