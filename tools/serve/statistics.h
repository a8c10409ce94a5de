// statistics.h - what a server reports about itself, as text and as JSON.

#pragma once

#include <string>

#include "yamanote/runtime.h"
#include "yamanote/server.h"
#include "yamanote/time.h"

namespace yamanote::tools {

struct Statistics {
  Duration uptime{0};
  ServerStats server;
  RuntimeStats runtime;
};

// A few lines, ending in a newline; what is zero and would be bad is left out.
// `before` is the previous report: rates are those since then.
std::string StatisticsText(const Statistics& now, const Statistics& before);

// One line of JSON with every counter. `event` is "statistics" or "final".
std::string StatisticsJson(const Statistics& now, const Statistics& before,
                           std::string_view event);

}  // namespace yamanote::tools
