// limits.cc - what a request takes, and what the cores have.

#include "tools/sim/limits.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "dispatch/placement.h"
#include "tools/load/units.h"

namespace yamanote::simulation {
namespace {

// Of the workload: enough for a mean within 1% unless the tail is very heavy.
constexpr int kSampled = 200'000;

double Ns(Duration duration) { return static_cast<double>(ToNanos(duration)); }

}  // namespace

Demand DemandOf(const Scenario& scenario) {
  Scenario sample = scenario;
  sample.requests = scenario.trace != nullptr
                        ? scenario.requests
                        : std::min<uint64_t>(scenario.requests, kSampled);
  Demand demand{.service = scenario.mean_service_ns,
                .worker = scenario.mean_service_ns};
  if (scenario.oracle) return demand;
  const sim::Costs& costs = scenario.costs;
  const Scheduling& s = scenario.scheduling;
  const bool dedicated = HasDedicatedDispatcher(s, scenario.cores);
  const double network = dedicated ? 0 : Ns(costs.network);
  // Where they adapt, they are as long as they may be if that is what it takes.
  const Duration quantum =
      s.slice.Adapts() ? s.slice.most
                       : dispatch::MakePlacement(s, scenario.cores,
                                                 dispatch::Callers::kOneThread)
                             ->Quantum(scenario.cores - 1);
  const auto source = MakeSource(sample, 1);
  double service = 0;
  double preemptions = 0;
  while (const sim::Arrival* const arrival = source->Next()) {
    service += Ns(arrival->service);
    // Until it knows that its slice is over, a task goes on.
    if (quantum != kNoPreemption)
      preemptions +=
          std::ceil(Ns(arrival->service) / (Ns(quantum) + Ns(costs.hop))) - 1;
  }
  // The load is told in terms of that mean; of heavy tails a sample's is another.
  demand.preemptions = preemptions / service * scenario.mean_service_ns;
  // Some orders let the same one go on.
  const bool goes_on = FindPolicy(s.order)->short_first ||
                       s.rejoin == Rejoin::kHead || s.order == "edf";
  demand.worker += network + Ns(costs.context_switch) *
                                 (1 + (goes_on ? 0 : demand.preemptions));
  demand.worker += Ns(costs.preempt_receiver) * demand.preemptions;
  if (!dedicated) return demand;
  // A worker with one slot has nothing until its completion is known, and the next task.
  if (s.slots == 1)
    demand.worker += 2 * Ns(costs.hop) * (1 + demand.preemptions);
  demand.dispatcher = Ns(costs.network) +
                      Ns(costs.dispatch) * (1 + demand.preemptions) +
                      Ns(costs.preempt_sender) * demand.preemptions;
  return demand;
}

double HighestRate(const Scenario& scenario) {
  const Demand demand = DemandOf(scenario);
  double cores = scenario.cores;
  const Scheduling& s = scenario.scheduling;
  if (s.placement == PlacementKind::kPartitioned && !scenario.oracle &&
      scenario.connections != 0) {
    // All cores do as much as the fullest leaves them.
    std::vector<uint64_t> of_core(scenario.cores);
    for (uint64_t c = 0; c < scenario.connections; ++c)
      ++of_core[dispatch::HomeOfFlow(load::FlowOf(c), scenario.cores)];
    cores = static_cast<double>(scenario.connections) /
            static_cast<double>(*std::ranges::max_element(of_core));
  }
  double rate = cores / demand.worker;
  // Workers have what the dispatcher does not need for itself, if it lends a hand.
  if (demand.dispatcher > 0)
    rate = std::min(1 / demand.dispatcher,
                    cores / (demand.worker + demand.dispatcher));
  return rate * 1e9;
}

Result<void> CheckStable(const Scenario& scenario) {
  if (scenario.trace != nullptr) return {};  // It ends.
  const double highest = HighestRate(scenario);
  if (scenario.rate_rps < highest) return {};
  const Demand demand = DemandOf(scenario);
  const double ideal =
      scenario.cores / demand.service * 1e9;  // Without any costs.
  std::string why = fmt::format(
      "a request takes {:.3g} us of its own and {:.3g} us of a core in all",
      demand.service / 1000, demand.worker / 1000);
  if (demand.preemptions > 0.001)
    why += fmt::format(", in {:.3g} preemptions", demand.preemptions);
  if (demand.dispatcher > 0)
    why +=
        fmt::format(", {:.3g} us of the dispatcher", demand.dispatcher / 1000);
  return MakeError(
      ErrorCode::kInvalidArgument,
      fmt::format(
          "sim.load is {:.3g} ({} requests/s), which cannot be stable: {}, so "
          "{} cores do {} requests/s at most, load {:.3g}; lower --load or "
          "--rate, lengthen --slice, or say --overload to run it all the same",
          scenario.rate_rps / ideal, load::FormatRate(scenario.rate_rps), why,
          scenario.cores, load::FormatRate(highest), highest / ideal));
}

}  // namespace yamanote::simulation
