// ideal.h - round robin as it would be if nothing cost anything.
//
// One queue for all cores, first in, first out. A request that has run for a
// slice gives way at once if another waits, and joins the queue's tail. No time
// passes between two requests. It is what a measured scheduler with the same
// slice, cores and arrivals is scored against: it shows what the order can give,
// and the rest is the machinery's.

#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "tools/bench/arrivals.h"

namespace yamanote::bench {

// Returns each request's sojourn in nanoseconds. `slice` may be kNoPreemption:
// then it is M/G/k, first come, first served.
std::vector<int64_t> IdealSojourns(std::span<const Arrival> arrivals,
                                   unsigned cores, Duration slice);

}  // namespace yamanote::bench
