// flags.cc - flags from the table of options.

#include "tools/config/flags.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "tools/config/options.h"

namespace yamanote::tools {
namespace {

// For help and completion only: Build() checks the values, with the file's.
CLI::Validator ShownLimits(const OptionSpec& option) {
  return CLI::Validator(
      option.choices.empty()
          ? option.limits
          : fmt::format("{{{}}}", fmt::join(option.choices, ", ")));
}

std::string ShownDefault(const OptionSpec& option) {
  if (option.get == nullptr) return "";
  if (option.section == "scheduling" && option.key != "preset")
    return "the preset's";
  // Not a temporary: GCC 12 at -O3 says that its strings may be uninitialized.
  static const Config defaults;
  return option.get(option, defaults);
}

void AddFile(CLI::App& command, const std::string& flag,
             const std::shared_ptr<ConfigFlags>& flags) {
  command.add_option(flag, flags->file, "TOML file with any of the keys below")
      ->type_name("FILE")
      ->check([flag](const std::string& file) {
        return file.empty()
                   ? fmt::format("is empty; name a file, or leave {} out", flag)
                   : std::string();
      });
}

void AddFlag(CLI::App& command, const OptionSpec& option,
             const std::shared_ptr<ConfigFlags>& flags) {
  const OptionSpec* const spec = &option;
  CLI::Option* const added = command.add_option_function<std::string>(
      option.flag,
      [flags, spec](const std::string& text) {
        flags->settings.push_back({spec, text, spec->flag});
      },
      option.help);
  added->type_name(std::string(ToString(option.kind)));
  added->check(ShownLimits(option));
  added->default_str(ShownDefault(option));
  added->group(fmt::format("[{}]", option.section));
  // CLI11 calls once per flag only for repeated ones if told so.
  if (option.kind == ValueKind::kClass) {
    added->trigger_on_parse();
  } else {
    added->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  }
}

}  // namespace

void AddConfigFlags(CLI::App& command, std::string_view service,
                    const std::shared_ptr<ConfigFlags>& flags) {
  AddFile(command, "--config", flags);
  for (const OptionSpec& option : Options()) {
    if (IsSimulation(option.section) || IsDaemon(option.section) ||
        (IsService(option.section) && option.section != service))
      continue;
    AddFlag(command, option, flags);
  }
}

void AddScenarioFlags(CLI::App& command,
                      const std::shared_ptr<ConfigFlags>& flags) {
  AddFile(command, "--scenario", flags);
  // What is simulated comes first.
  for (const bool scheduling : {false, true}) {
    for (const OptionSpec& option : Options()) {
      if (scheduling ? option.section == "scheduling"
                     : IsSimulation(option.section))
        AddFlag(command, option, flags);
    }
  }
}

void AddDaemonFlags(CLI::App& command,
                    const std::shared_ptr<ConfigFlags>& flags) {
  AddFile(command, "--config", flags);
  for (const OptionSpec& option : Options()) {
    if (IsDaemon(option.section)) AddFlag(command, option, flags);
  }
  for (const OptionSpec& option : Options()) {
    // The simulated arbiter's interval is not the daemon's.
    if (option.section == "arbiter" && option.key != "interval")
      AddFlag(command, option, flags);
  }
}

Result<Config> LoadConfig(const ConfigFlags& flags, Use use) {
  std::vector<Setting> settings;
  if (!flags.file.empty()) {
    Result<std::vector<Setting>> file = ReadToml(flags.file);
    if (!file) return tl::unexpected(file.error());
    settings = std::move(*file);
  }
  settings.insert(settings.end(), flags.settings.begin(), flags.settings.end());
  return Build(settings, use);
}

}  // namespace yamanote::tools
