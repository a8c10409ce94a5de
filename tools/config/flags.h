// flags.h - gives a subcommand one flag for each key of the configuration.

#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <vector>

#include "tools/config/config.h"

namespace yamanote::tools {

// What the command line said; filled while it is parsed.
struct ConfigFlags {
  std::vector<Setting> settings;
  std::string file;
};

// Adds --config and the flags of the options that concern serving `service`.
void AddConfigFlags(CLI::App& command, std::string_view service,
                    const std::shared_ptr<ConfigFlags>& flags);

// Adds --scenario and the flags of the options that concern simulations.
void AddScenarioFlags(CLI::App& command,
                      const std::shared_ptr<ConfigFlags>& flags);

// Adds --config and the flags of the options that concern yamanoted.
void AddDaemonFlags(CLI::App& command,
                    const std::shared_ptr<ConfigFlags>& flags);

// The file's settings, then the flags', built into a configuration.
Result<Config> LoadConfig(const ConfigFlags& flags, Use use = Use::kServe);

}  // namespace yamanote::tools
