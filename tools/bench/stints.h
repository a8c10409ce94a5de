// stints.h - how exactly slices end, judged after the run.
//
// A request may run on for as long as nobody waits. So a preemption says one of
// two things: if somebody had waited since the slice was over, how much longer than
// the slice the request ran; if not, how long after somebody came the request gave
// way. Who came and went meanwhile, on another core, does not count: there was nobody
// to give way to. Who was in the system when is known from arrivals and ends, so
// nothing of this costs anything during the run.

#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <vector>

#include "base/histogram.h"
#include "tools/bench/trace.h"
#include "yamanote/time.h"

namespace yamanote::bench {

// How many requests are in the system at a time.
class Population {
 public:
  // In any order; one entry of each for a request that ended.
  Population(std::vector<Instant> arrivals, std::vector<Instant> ends);

  size_t At(Instant time) const;
  // Since when there have been `least` or more without a break at `until`, `from` if
  // since before that; kNever if there are fewer.
  Instant SinceWith(size_t least, Instant until, Instant from) const;

 private:
  std::vector<Instant> arrivals_;  // In order.
  std::vector<Instant> ends_;
};

struct StintFigures {
  base::Histogram ran;    // Somebody has waited since the slice was over. ns.
  base::Histogram asked;  // Nobody did: from when somebody came. ns.
};

// Adds a core's preemptions to `figures`, but for those for which `left_out`
// says so of the time that they took. Something waits if there are more
// requests than `cores`: exact for one core and for one queue.
void AddStints(std::span<const Preempted> preemptions,
               const Population& population, unsigned cores, Duration slice,
               const std::function<bool(Instant, Instant)>& left_out,
               StintFigures& figures);

}  // namespace yamanote::bench
