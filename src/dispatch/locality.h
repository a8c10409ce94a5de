// locality.h - what an order is told of where its cores are.

#pragma once

#include <span>
#include <vector>

#include "base/topology.h"
#include "yamanote/policy.h"

namespace yamanote::dispatch {

// Returns where cores are that have these CPUs, in this order. CPUs of a node of which no
// cache is known count as sharing one, and those of which no node is known share that.
std::vector<CoreLocality> LocalityOf(const base::Topology& topology,
                                     std::span<const int> cpus);

// The same of this machine, for an engine with this order: empty if the order does not use
// it, or the machine cannot be read. Takes milliseconds if it does.
std::vector<CoreLocality> LocalityFor(const PolicyInfo& order,
                                      std::span<const int> cpus);

}  // namespace yamanote::dispatch
