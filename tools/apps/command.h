// command.h - `yamanote apps`: who holds which core, and why.

#pragma once

#include <CLI/CLI.hpp>

namespace yamanote::tools {

void AddAppsCommand(CLI::App& app);

}  // namespace yamanote::tools
