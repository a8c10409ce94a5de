// plan.h - what `yamanote serve` would use on this machine, and why.

#pragma once

#include <vector>

#include "base/topology.h"
#include "tools/doctor/costs.h"
#include "tools/doctor/facts.h"

namespace yamanote::tools {

// From what was found; with no costs measured, the reasons name none.
FactSection Plan(const base::Topology& topology,
                 const std::vector<FactSection>& found, const Costs& costs);

}  // namespace yamanote::tools
