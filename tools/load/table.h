// table.h - a load result as text for a terminal.

#pragma once

#include <string>

#include "tools/load/result.h"

namespace yamanote::load {

// One line for each point and class, then what the reader must know about them:
// losses, lateness, gaps, the spread over the seeds. Ends with a newline.
std::string FormatTable(const LoadResult& result);

// One line for a search's step.
std::string FormatStep(const SearchStep& step);

}  // namespace yamanote::load
