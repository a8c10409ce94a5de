// sweep.h - the same scenario with some of its keys varied.

#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tools/config/config.h"
#include "tools/sim/simulate.h"
#include "yamanote/result.h"

namespace yamanote::simulation {

// More would be a mistake.
inline constexpr std::size_t kMostPoints = 10'000;

// A key and what it takes in turn.
struct Variation {
  const tools::OptionSpec* option = nullptr;
  std::vector<std::string> values;
};

// Reads "KEY=VALUE,VALUE,..." or "KEY=LOW..HIGH/STEP": "load=0.1..0.9/0.1",
// "preset=ix,zygos". Values that have commas are separated by '|'.
Result<Variation> ParseVariation(std::string_view text);

struct SweepPoint {
  std::vector<std::string> values;  // One for each variation.
  Scenario scenario;
  std::string unstable;  // Why it is not run; empty: it is.
  Outcome outcome{};     // If it is.
};

// All combinations, the last variation's values fastest. Errors as MakeScenario(), with
// the combination. `overload` runs those that cannot be stable, too.
Result<std::vector<SweepPoint>> MakeSweep(
    const std::vector<tools::Setting>& settings,
    const std::vector<Variation>& variations, bool overload);

}  // namespace yamanote::simulation
