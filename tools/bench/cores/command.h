// command.h - `yamanote bench cores`.

#pragma once

#include <CLI/CLI.hpp>

namespace yamanote::tools {

// Adds `cores`, and the hidden `cores-batch`, to `yamanote bench`.
void AddBenchCores(CLI::App& bench);

}  // namespace yamanote::tools
