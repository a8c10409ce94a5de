// overhead.h - from times of both builds to what probes cost.
//
// A round measures every kernel in every layout, without probes and with. Its
// overhead is the geometric mean, over the layouts, of the time with probes to
// the time without, less 1. What is reported is the median over the rounds; the
// quartiles beside it say how much rounds differ.

#pragma once

#include <cstdint>
#include <vector>

namespace yamanote::bench {

// One layout of one kernel; [i] is of round i, so both are of one length.
struct LayoutTimes {
  int layout = 0;  // Bytes behind a multiple of 64.
  std::vector<int64_t> plain_ns;
  std::vector<int64_t> probes_ns;
};

struct Spread {
  double median = 0;
  double p25 = 0;
  double p75 = 0;
};

// Quantiles of `values`, between neighbours in proportion. Not empty.
Spread Quartiles(std::vector<double> values);

// The overhead of each round, a share: 0.02 is 2%. `layouts` is not empty.
std::vector<double> RoundOverheads(const std::vector<LayoutTimes>& layouts);

// The geometric mean over kernels, each round for itself; `kernels` are
// RoundOverheads(), not empty and of one length.
std::vector<double> MeanOverheads(
    const std::vector<std::vector<double>>& kernels);

}  // namespace yamanote::bench
