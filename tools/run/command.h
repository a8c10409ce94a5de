// command.h - `yamanote run`: a program under the arbiter.

#pragma once

#include <CLI/CLI.hpp>

namespace yamanote::tools {

void AddRunCommand(CLI::App& app);

}  // namespace yamanote::tools
