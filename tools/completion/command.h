// command.h - `yamanote completion`: what a shell needs to complete the
// command.

#pragma once

#include <CLI/CLI.hpp>

namespace yamanote::tools {

// Also adds the hidden subcommand `man`, which the build uses to write the
// page. Requires: all other subcommands have been added to `app`, which must
// live until the command line has been parsed.
void AddCompletionCommand(CLI::App& app);

}  // namespace yamanote::tools
