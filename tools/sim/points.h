// points.h - outcomes as points of a curve, for what knows curves: the search for the
// highest load, and the HTML report.

#pragma once

#include <string>
#include <vector>

#include "tools/load/result.h"
#include "tools/sim/simulate.h"

namespace yamanote::simulation {

load::PointResult ToPoint(const Scenario& scenario, const Outcome& outcome);

// A curve of points of one label, by rising rate. `scenario` is any of theirs.
load::LoadResult ToCurve(const std::string& label, const Scenario& scenario,
                         std::vector<load::PointResult> points);

}  // namespace yamanote::simulation
