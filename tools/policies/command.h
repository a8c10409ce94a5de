// command.h - `yamanote policies`: what there is to choose from.

#pragma once

#include <CLI/CLI.hpp>

namespace yamanote::tools {

void AddPoliciesCommand(CLI::App& app);

}  // namespace yamanote::tools
