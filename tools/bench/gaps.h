// gaps.h - how long a kernel runs from one probe to the next.

#pragma once

#include <cstdint>

#include "tools/bench/kernels/kernels.h"

namespace yamanote::bench {

struct Gaps {
  uint64_t count = 0;
  double p50_ns = 0;
  double p99_ns = 0;
  double p999_ns = 0;
  double max_ns = 0;  // Mostly the machine's: an interrupt, a stolen core.
};

// Runs `kernel`, a build with probes, with its flag set, so that it meets every
// probe; what meeting one takes is measured and taken off. Probes below a guarded
// function do not count: nothing gives way there. The first gap, which begins
// before the kernel, is left out. One caller at a time; some 50 ms.
Gaps MeasureGaps(const Kernel& kernel);

}  // namespace yamanote::bench
