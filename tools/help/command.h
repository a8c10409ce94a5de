// command.h - `yamanote help`: the help of any command, for those who ask that
// way.

#pragma once

#include <CLI/CLI.hpp>

namespace yamanote::tools {

// Adds the subcommand to `app`, which must outlive the parse.
void AddHelpCommand(CLI::App& app);

}  // namespace yamanote::tools
