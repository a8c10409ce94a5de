// connections.cc - how many connections keep the queues of hashed cores balanced.
//
//   bench_papers_connections
//
// For each number of queues the fewest connections for which the fullest queue has at
// most 10% more than the mean with a probability of 90%, if all connections send the
// same: by the production hash over random connections, 2,000 times each, bisected. CSV.
//
// Source: Kaffes et al., "Shinjuku", NSDI 2019, figure 4.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <vector>

#include "base/random.h"
#include "dispatch/placement.h"

namespace {

constexpr int kTrials = 2000;
constexpr double kImbalance = 1.1;
constexpr double kProbability = 0.9;

// How often it is balanced.
double Balanced(unsigned queues, uint64_t connections) {
  yamanote::base::Random random(queues, connections);
  std::vector<uint32_t> counts(queues);
  int balanced = 0;
  for (int trial = 0; trial < kTrials; ++trial) {
    std::ranges::fill(counts, 0);
    for (uint64_t i = 0; i < connections; ++i)
      ++counts[yamanote::dispatch::HomeOfFlow(random() | 1, queues)];
    const double mean =
        static_cast<double>(connections) / static_cast<double>(queues);
    if (*std::ranges::max_element(counts) <= kImbalance * mean) ++balanced;
  }
  return static_cast<double>(balanced) / kTrials;
}

}  // namespace

int main() {
  std::printf("queues,connections\n");
  for (const unsigned queues : {2U, 4U, 8U, 12U, 16U, 20U, 24U, 32U}) {
    uint64_t low = 1;
    uint64_t high = 64;
    while (Balanced(queues, high) < kProbability) high *= 2;
    while (high - low > low / 100 + 1) {
      const uint64_t middle = (low + high) / 2;
      (Balanced(queues, middle) < kProbability ? low : high) = middle;
    }
    std::printf("%u,%llu\n", queues, static_cast<unsigned long long>(high));
    std::fflush(stdout);
  }
}
