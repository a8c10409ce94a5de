// command.h - `yamanote sim`: what a scheduler would do, in virtual time.

#pragma once

#include <CLI/CLI.hpp>

namespace yamanote::tools {

void AddSimCommand(CLI::App& app);

}  // namespace yamanote::tools
