// limits.h - whether a simulated system can keep up with its load at all.

#pragma once

#include "tools/sim/scenario.h"
#include "yamanote/result.h"

namespace yamanote::simulation {

// What a request takes of the cores in the long run, ns.
struct Demand {
  double service = 0;  // Its own work.
  double preemptions =
      0;                  // How often it is preempted where all cores are busy.
  double worker = 0;      // Of a core that runs requests: all of it.
  double dispatcher = 0;  // Of a dedicated dispatcher; 0: there is none.
};

Demand DemandOf(const Scenario& scenario);

// The highest rate, requests per second, at which the queues need not grow without end:
// certainly unstable above, probably stable below.
// rho_max = 1 / (1 + c E[ceil(S/q) - 1] / E[S]) where preemptions are all that costs, and
// the fullest core's share of the connections where they have cores.
double HighestRate(const Scenario& scenario);

// kInvalidArgument with the limit and the remedy if the scenario's rate is above it. A
// trace ends, so it may be.
Result<void> CheckStable(const Scenario& scenario);

}  // namespace yamanote::simulation
