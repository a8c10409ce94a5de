// overhead.cc - ratios, their geometric means, quartiles.

#include "tools/bench/overhead.h"

#include <algorithm>
#include <cmath>

namespace yamanote::bench {

Spread Quartiles(std::vector<double> values) {
  std::ranges::sort(values);
  const auto at = [&values](double share) {
    const double place = share * static_cast<double>(values.size() - 1);
    const auto below = static_cast<size_t>(place);
    const size_t above = std::min(below + 1, values.size() - 1);
    return std::lerp(values[below], values[above],
                     place - static_cast<double>(below));
  };
  return {.median = at(0.5), .p25 = at(0.25), .p75 = at(0.75)};
}

std::vector<double> RoundOverheads(const std::vector<LayoutTimes>& layouts) {
  std::vector<double> overheads;
  for (size_t round = 0; round < layouts.front().plain_ns.size(); ++round) {
    double logarithms = 0;
    for (const LayoutTimes& times : layouts) {
      logarithms += std::log(static_cast<double>(times.probes_ns[round]) /
                             static_cast<double>(times.plain_ns[round]));
    }
    overheads.push_back(
        std::expm1(logarithms / static_cast<double>(layouts.size())));
  }
  return overheads;
}

std::vector<double> MeanOverheads(
    const std::vector<std::vector<double>>& kernels) {
  std::vector<double> means;
  for (size_t round = 0; round < kernels.front().size(); ++round) {
    double logarithms = 0;
    for (const std::vector<double>& overheads : kernels)
      logarithms += std::log1p(overheads[round]);
    means.push_back(
        std::expm1(logarithms / static_cast<double>(kernels.size())));
  }
  return means;
}

}  // namespace yamanote::bench
