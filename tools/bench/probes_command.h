// probes_command.h - adds `yamanote bench probes`.

#pragma once

#include <CLI/CLI.hpp>

namespace yamanote::tools {

void AddProbesCommand(CLI::App& bench);

}  // namespace yamanote::tools
