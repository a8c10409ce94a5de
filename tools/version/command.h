// command.h - `yamanote version`: what this build is.

#pragma once

#include <CLI/CLI.hpp>

namespace yamanote::tools {

void AddVersionCommand(CLI::App& app);

}  // namespace yamanote::tools
