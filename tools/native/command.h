// command.h - `yamanote native`: kernel threads of unmodified programs under our policies.

#pragma once

#include <CLI/CLI.hpp>

namespace yamanote::tools {

void AddNativeCommand(CLI::App& app);

}  // namespace yamanote::tools
