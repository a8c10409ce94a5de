// command.h - `yamanote report`: an HTML file from saved results.

#pragma once

#include <CLI/CLI.hpp>

namespace yamanote::tools {

void AddReportCommand(CLI::App& app);

}  // namespace yamanote::tools
