// command.h - `yamanote serve`: a service under the scheduler of your choice.

#pragma once

#include <CLI/CLI.hpp>

namespace yamanote::tools {

void AddServeCommand(CLI::App& app);

}  // namespace yamanote::tools
