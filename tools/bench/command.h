// command.h - adds `yamanote bench`.

#pragma once

#include <CLI/CLI.hpp>

namespace yamanote::tools {

void AddBenchCommand(CLI::App& app);

}  // namespace yamanote::tools
