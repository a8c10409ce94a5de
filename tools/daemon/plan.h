// plan.h - what the configuration means on this machine: which cores, whose rights.

#pragma once

#include <string_view>

#include "arbiter/daemon.h"
#include "tools/config/config.h"

namespace yamanote::tools {

// Everything but `end` and the list. The error is in the words of the key that is wrong.
// Reads the machine: milliseconds.
Result<arbiter::DaemonOptions> PlanDaemon(const Config& config);

// "alice:guaranteed=2,burst=2,apps=3; *:apps=1". Users by name or number; what is not
// said is 0 cores, 8 applications.
Result<arbiter::Rights> ParseUsers(std::string_view text);

}  // namespace yamanote::tools
