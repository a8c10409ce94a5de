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

Instant Population::FirstWith(size_t least, Instant from, Instant until) const {
  if (At(from) >= least) return from;
  for (size_t i = CountUpTo(arrivals_, from);
       i < arrivals_.size() && arrivals_[i] <= until; ++i) {
    if (At(arrivals_[i]) >= least) return arrivals_[i];
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
    const Instant waits = population.FirstWith(cores + 1, over, one.stopped);
    if (waits == over) {
      figures.ran.Record(static_cast<uint64_t>(one.ran.count()));
    } else if (waits != kNever) {
      figures.asked.Record(
          static_cast<uint64_t>((one.stopped - waits).count()));
    }
  }
}

}  // namespace yamanote::bench
