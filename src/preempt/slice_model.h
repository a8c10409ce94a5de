// slice_model.h - what slices of some length would give, by queueing theory.
//
// Two models, by what an order does with a task whose slice is over: it waits for all
// others in turn (rr), or goes on unless somebody overtakes it who has used less (mlfq).

#pragma once

#include <array>
#include <cstddef>
#include <span>

#include "yamanote/time.h"

namespace yamanote::preempt {

inline double Nanos(Duration duration) {
  return static_cast<double>(duration.count());
}

// How many tasks ran for how long, in bins of a quarter octave from 128 ns on. The
// first and the last take what is outside.
struct ServiceTimes {
  static constexpr size_t kBins = 72;

  std::array<double, kBins> counts{};

  static size_t BinOf(Duration service);
  static Duration MiddleOf(size_t bin);
  static Duration EndOf(size_t bin);  // Exclusive.
};

// Shares of the cores' time, 0 .. 1 together: what the tasks themselves take, and what
// is done for them (network, queues, switches).
struct Usage {
  double tasks;
  double beside = 0;
};

struct Prediction {
  // The mean slowdown, of a task of at least 1 us: below, no client could tell. Which
  // mean, the model says.
  double slowdown = 1;
  // What preemptions add to the work, as a share of it, where the cores are full.
  double lost = 0;
};

// What a core gives such tasks in slices of `slice` when it is so busy and a preemption
// costs `cost`. Tasks count as long as their bin allows, so that a slice fits them.
using SliceModel = Prediction(const ServiceTimes& services, Usage usage,
                              Duration slice, Duration cost);

// Whose slice is over waits for all others. The arithmetic mean.
//
// Source: Pollaczek and Khinchine's formula for the first wait, where each turn of
// a task is a customer, and the limit of processor sharing for the further ones.
SliceModel InTurn;

// Who has had less goes first, by powers of two; whom nobody overtakes goes on at once.
// The geometric mean: at high loads the long tasks' slowdowns are so many times those of
// the short ones that the arithmetic one would not see these.
//
// Source: Kleinrock, Queueing Systems II, 1976, section 4.7: multi-level processor
// sharing, first come first served on each level. The first level is a slice.
SliceModel ShortFirst;

// The longest of `candidates` (ascending, not empty) that keeps 98% of what the best one
// gains over the longest of all; of those that cut no task, the shortest. Where the cores
// are full, one whose preemptions take 2% of the work at most.
Duration BestSlice(const ServiceTimes& services, Usage usage, Duration cost,
                   std::span<const Duration> candidates,
                   SliceModel& model = InTurn);

}  // namespace yamanote::preempt
