// command.h - `yamanote load`: measures a service's tail from outside.

#pragma once

#include <CLI/CLI.hpp>

namespace yamanote::tools {

// Adds `load`. The measurement runs on the calling thread from the subcommand's
// callback and leaves by CLI::RuntimeError if it failed: kFailed if nothing
// could be measured, a point is invalid or no load met the objective; kUsage if
// the arguments are impossible.
void AddLoadCommand(CLI::App& app);

}  // namespace yamanote::tools
