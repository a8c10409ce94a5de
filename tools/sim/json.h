// json.h - the schema "yamanote.sim/1": docs/sim.md describes it.

#pragma once

#include <nlohmann/json.hpp>

#include "tools/sim/simulate.h"

namespace yamanote::simulation {

inline constexpr std::string_view kSchema = "yamanote.sim/1";

// One scenario and what came of it.
nlohmann::ordered_json ToJson(const Scenario& scenario, const Outcome& outcome);

}  // namespace yamanote::simulation
