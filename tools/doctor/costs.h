// costs.h - what the elementary operations cost on this machine, measured now.
//
// Each cost is a median of many repetitions, so a core that the hypervisor takes
// away for a moment does not spoil it; the 99th percentile shows how often that
// happens. The whole takes about two seconds and is bounded.

#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/topology.h"
#include "sim/costs.h"
#include "yamanote/time.h"

namespace yamanote::tools {

struct Cost {
  std::string key;  // "futex_wake": in JSON and, with _ns, in the TOML file.
  std::string label;
  double median_ns = 0;
  double p99_ns = 0;  // Of the repetitions (or batches of the very short ones).
  std::string how;    // What was done, in a few words.
};

// One cache line passed from CPU to CPU, one way.
struct Hop {
  int from = 0;
  int to = 0;
  base::Distance distance = base::Distance::kSharedCache;
  // The first decile: what it costs while nobody else runs on either CPU.
  double ns = 0;
};

struct Costs {
  std::vector<Cost> costs;
  // Each unordered pair of CPUs, as far as time allowed.
  std::vector<Hop> hops;
  size_t pairs = 0;  // How many pairs there are.
};

// Measures everything, taking at most about `budget`. Costs that need two CPUs
// are left out when the process may use only one.
Costs MeasureCosts(const base::Topology& topology, Duration budget);

// How long each preemption took that happened within `limit` on the first of `cpus`, ns,
// the step of whoever is preempted included. The second CPU keeps time; if there is none,
// the core itself does, which takes longer. No runtime may exist.
std::vector<double> TimePreemptions(std::span<const int> cpus, Duration limit);

// Pins the calling thread; a failure only makes the result noisier.
void PinTo(int cpu);

// How long cores took to change hands as under an arbiter, ns. core_moves.cc says of whom.
struct CoreMoves {
  // From the arbiter's command to the first step of a worker that slept on an idle core.
  std::vector<double> grants;
  // From a worker's seeing that it must leave until it has, its heir being woken.
  std::vector<double> revocations;
  // From the same until its heir's first step on that core.
  std::vector<double> hand_overs;
};
CoreMoves TimeCoreMoves(int arbiter_cpu, int core_cpu, Duration limit);

// The machine as `yamanote sim` sees it. What a dispatcher and a thief take is the
// number of cache lines that change cores, times a hop.
sim::Costs SimulationCosts(const Costs& found);

}  // namespace yamanote::tools
