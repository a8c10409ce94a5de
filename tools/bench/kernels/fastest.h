// fastest.h - how long one build of a kernel takes.

#ifndef YAMANOTE_TOOLS_BENCH_KERNELS_FASTEST_H_
#define YAMANOTE_TOOLS_BENCH_KERNELS_FASTEST_H_

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>

#include "tools/bench/kernels/kernels.h"

namespace yamanote::bench {

// Of so many runs of a millisecond at least one is not interrupted, mostly.
inline constexpr int kRuns = 5;

struct Timing {
  int64_t ns = std::numeric_limits<int64_t>::max();  // Of the fastest run.
  uint64_t result = 0;
};

// Runs `kernel` kRuns times on the calling thread.
inline Timing FastestRun(const Kernel& kernel) {
  using Watch = std::chrono::steady_clock;
  Timing timing;
  for (int i = 0; i < kRuns; ++i) {
    const auto start = Watch::now();
    timing.result = kernel.run(kernel.n);
    const std::chrono::nanoseconds took = Watch::now() - start;
    timing.ns = std::min(timing.ns, int64_t{took.count()});
  }
  return timing;
}

}  // namespace yamanote::bench

#endif  // YAMANOTE_TOOLS_BENCH_KERNELS_FASTEST_H_
