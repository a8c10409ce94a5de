// stints.cc - sorts preemptions by what they say.

#include "tools/bench/stints.h"

#include <algorithm>

namespace yamanote::bench {
namespace {

size_t CountUpTo(const std::vector<Instant>& times, Instant time) {
  return static_cast<size_t>(std::ranges::upper_bound(times, time) -
                             times.begin());
}

}  // namespace

Population::Population(std::vector<Instant> arrivals, std::vector<Instant> ends)
    : arrivals_(std::move(arrivals)), ends_(std::move(ends)) {
  std::ranges::sort(arrivals_);
  std::ranges::sort(ends_);
}

size_t Population::At(Instant time) const {
  return CountUpTo(arrivals_, time) - CountUpTo(ends_, time);
}

Instant Population::SinceWith(size_t least, Instant until, Instant from) const {
  size_t arrived = CountUpTo(arrivals_, until);
  size_t ended = CountUpTo(ends_, until);
  while (arrived >= ended + least) {
    const Instant arrival = arrivals_[arrived - 1];
    const Instant end = ended > 0 ? ends_[ended - 1] : Instant::min();
    if (std::max(arrival, end) <= from) return from;
    if (end >= arrival) {
      --ended;
    } else if (--arrived < ended + least) {
      return arrival;
    }
  }
  return kNever;
}

void AddStints(std::span<const Preempted> preemptions,
               const Population& population, unsigned cores, Duration slice,
               const std::function<bool(Instant, Instant)>& left_out,
               StintFigures& figures) {
  if (slice == kNoPreemption) return;
  for (const Preempted& one : preemptions) {
    if (left_out(one.begun, one.stopped)) continue;
    const Instant over = std::min(one.begun + slice, one.stopped);
    const Instant waits = population.SinceWith(cores + 1, one.stopped, over);
    if (waits == over) {
      figures.ran.Record(static_cast<uint64_t>(one.ran.count()));
    } else if (waits != kNever) {
      figures.asked.Record(
          static_cast<uint64_t>((one.stopped - waits).count()));
    }
  }
}

}  // namespace yamanote::bench
