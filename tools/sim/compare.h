// compare.h - which scheduler meets an objective at the highest load, and why the others
// do not.

#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "tools/load/search.h"
#include "tools/sim/sweep.h"

namespace yamanote::simulation {

struct Candidate {
  std::string label;
  Scenario scenario;  // At any rate.
};

struct Ranked {
  std::string label;
  double best_load = 0;  // The highest that meets the objective; 0: none did.
  double best_rps = 0;
  double limit_load = 0;                    // Beyond, it cannot be stable.
  std::string why;                          // What is in the way of more.
  std::vector<load::PointResult> points{};  // By rising load.
  Scenario scenario;
};

// Searches each candidate's highest load, `jobs` candidates at a time; the best first,
// whatever `jobs`. Loads are known to 2%. Empty if `stopped`.
std::vector<Ranked> Compare(std::span<const Candidate> candidates,
                            const load::Objective& objective, unsigned jobs,
                            const std::function<bool()>& stopped);

}  // namespace yamanote::simulation
