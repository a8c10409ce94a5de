// print.cc - the effective configuration as a TOML file with comments.

#include <fmt/format.h>

#include "tools/config/options.h"
#include "tools/config/values.h"

namespace yamanote::tools {
namespace {

// A TOML basic string.
std::string Quote(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      quoted += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      quoted += c;
    }
  }
  return quoted + '"';
}

std::string TomlValue(const OptionSpec& option, const Config& config) {
  const std::string text = option.get(option, config);
  const bool bare =
      option.kind == ValueKind::kBool ||
      (option.kind == ValueKind::kCount && text != option.range.word);
  return bare ? text : Quote(text);
}

void PrintClasses(const Config& config, std::string& out) {
  for (const ClassSetting& request_class : config.classes) {
    out += fmt::format("\n[[scheduling.classes]]  # Set by {}.\n",
                       request_class.origin);
    out += fmt::format("name = {}\n", Quote(request_class.name));
    if (request_class.slo)
      out += fmt::format("slo = \"{}\"\n", FormatDuration(*request_class.slo));
    if (request_class.limit)
      out += fmt::format("limit = {}\n", *request_class.limit);
    if (request_class.background.value_or(false)) out += "background = true\n";
    if (request_class.budget)
      out += fmt::format("budget = \"{}\"\n",
                         FormatDuration(*request_class.budget));
    if (request_class.period)
      out += fmt::format("period = \"{}\"\n",
                         FormatDuration(*request_class.period));
  }
}

}  // namespace

std::string PrintConfig(const Config& config) {
  std::string out =
      "# The effective configuration of `yamanote serve`.\n"
      "# Every key is also a flag; flags win over this file.\n";
  for (const SectionInfo& section : Sections()) {
    if (IsSimulation(section.name) || IsDaemon(section.name)) continue;
    out += fmt::format("\n# {}.\n[{}]\n", section.help, section.name);
    for (const OptionSpec& option : Options()) {
      if (option.section != section.name) continue;
      out += fmt::format("# {}.\n# {}; {}.", option.help, option.flag,
                         option.limits);
      const auto origin = config.origins.find(option.Name());
      if (origin != config.origins.end())
        out += fmt::format(" Set by {}.", origin->second);
      out += '\n';
      if (option.get != nullptr) {
        out += fmt::format("{} = {}\n", option.key, TomlValue(option, config));
      }
    }
    if (section.name == "scheduling") PrintClasses(config, out);
  }
  return out;
}

}  // namespace yamanote::tools
