// command.h - `yamanote demo`: schedulers compared under the same load.

#pragma once

#include <CLI/CLI.hpp>

namespace yamanote::tools {

void AddDemoCommand(CLI::App& app);

}  // namespace yamanote::tools
