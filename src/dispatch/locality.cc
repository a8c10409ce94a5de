// locality.cc - from the machine's topology to cores.

#include "dispatch/locality.h"

#include <algorithm>

namespace yamanote::dispatch {
namespace {

// `cpus` ascend.
bool Contains(const std::vector<int>& cpus, int cpu) {
  return std::binary_search(cpus.begin(), cpus.end(), cpu);
}

}  // namespace

std::vector<CoreLocality> LocalityOf(const base::Topology& topology,
                                     std::span<const int> cpus) {
  int last_level = 0;
  for (const base::Cache& cache : topology.caches)
    last_level = std::max(last_level, cache.level);
  std::vector<CoreLocality> result;
  for (const int number : cpus) {
    size_t node = 0;
    while (node < topology.node_cpus.size() &&
           !Contains(topology.node_cpus[node], number))
      ++node;
    size_t cache = 0;
    while (cache < topology.caches.size() &&
           (topology.caches[cache].level != last_level ||
            !Contains(topology.caches[cache].cpus, number)))
      ++cache;
    // Where none is known: one for each node.
    if (cache == topology.caches.size()) cache += node;
    result.push_back({.cache = static_cast<uint32_t>(cache),
                      .node = static_cast<uint32_t>(node)});
  }
  return result;
}

std::vector<CoreLocality> LocalityFor(const PolicyInfo& order,
                                      std::span<const int> cpus) {
  if (!order.uses_locality) return {};
  const Result<base::Topology> topology = base::ReadTopology();
  return topology ? LocalityOf(*topology, cpus) : std::vector<CoreLocality>();
}

}  // namespace yamanote::dispatch
