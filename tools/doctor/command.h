// command.h - `yamanote doctor`: what this machine can do and what it costs.

#pragma once

#include <CLI/CLI.hpp>

namespace yamanote::tools {

void AddDoctorCommand(CLI::App& app);

}  // namespace yamanote::tools
