// command.h - `yamanote sim`: what a scheduler would do, in virtual time.

#pragma once

#include <CLI/CLI.hpp>

namespace yamanote::tools {

void AddSimCommand(CLI::App& app);
// Its subcommands.
void AddSweepCommand(CLI::App& sim);
void AddCompareCommand(CLI::App& sim);

}  // namespace yamanote::tools
