// ideal.h - round robin as it would be if nothing cost anything.
//
// One queue for all cores, first in, first out. A request that has run for a
// slice gives way at once if another waits, and joins the queue's tail. No time
// passes between two requests. It is what a measured scheduler with the same
// slice, cores and arrivals is scored against: it shows what the order can give,
// and the rest is the machinery's.
//
// It can be given the times at which the machine took a core away: then it stands
// still for them, too, and what is left between it and the measured scheduler is
// not the machine's.

#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "tools/bench/arrivals.h"

namespace yamanote::bench {

// A core does nothing, and its request waits; nanoseconds after the start.
struct Outage {
  int64_t from = 0;
  int64_t to = 0;
};

// Of each core, in order and disjoint.
using Outages = std::vector<std::vector<Outage>>;

// Returns each request's sojourn in nanoseconds. `slice` may be kNoPreemption:
// then it is M/G/k, first come, first served. `outages`: empty, or an entry for
// each core.
std::vector<int64_t> IdealSojourns(std::span<const Arrival> arrivals,
                                   unsigned cores, Duration slice,
                                   const Outages& outages = {});

}  // namespace yamanote::bench
