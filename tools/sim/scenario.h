// scenario.h - one simulation, read and checked: what runs where, and who comes.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sim/costs.h"
#include "sim/oracle.h"
#include "sim/source.h"
#include "tools/config/config.h"
#include "tools/load/schedule.h"
#include "tools/load/workload.h"
#include "tools/sim/trace.h"
#include "yamanote/result.h"
#include "yamanote/scheduling.h"

namespace yamanote::simulation {

struct Scenario {
  Scheduling scheduling;
  std::optional<sim::Oracle> oracle;  // Instead of the scheduling's order.
  unsigned cores = 1;
  sim::Costs costs{};

  std::string service;  // As written; of a trace, its path.
  load::Workload workload;
  load::Arrivals arrivals{};
  std::string arrivals_text;
  std::shared_ptr<const Trace> trace;  // Instead of the two above, if not null.
  double load = 0;
  double rate_rps = 0;
  uint64_t connections = 0;
  Duration period{0};
  double swing = 0;

  uint64_t requests = 0;  // Of one run.
  uint64_t warmup = 0;
  uint64_t seed = 1;
  unsigned runs = 1;

  // With an arbiter, if its interval is not 0.
  tools::ArbiterSettings arbiter{};
  unsigned guaranteed = 0;
  bool batch = false;
  // Requests are native threads on a modelled kernel (src/native/model.h).
  bool native = false;

  // Mean of what requests take, ns, as long ones are cut.
  double mean_service_ns = 0;
};

// Reads the trace and measures or reads the costs, if the configuration says so. Errors
// name the key, the value, the limit and the remedy. `measured` keeps what was measured
// for the next one.
Result<Scenario> MakeScenario(const tools::Config& config,
                              std::optional<sim::Costs>& measured);
Result<Scenario> MakeScenario(const tools::Config& config);

inline tl::unexpected<Error> Wrong(std::string message) {
  return MakeError(ErrorCode::kInvalidArgument, std::move(message));
}

// The name of the order, an oracle's included.
std::string OrderName(const Scenario& scenario);

// The names of the classes that requests have, by number.
std::vector<std::string> ClassNames(const Scenario& scenario);

// The requests of the run with that seed.
std::unique_ptr<sim::Source> MakeSource(const Scenario& scenario,
                                        uint64_t seed);

}  // namespace yamanote::simulation
