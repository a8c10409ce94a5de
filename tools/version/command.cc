// command.cc - prints what this build is, for bug reports and for scripts.

#include "tools/version/command.h"

#include <fmt/core.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "tools/output/json.h"
#include "tools/version/build_info.h"

namespace yamanote::tools {
namespace {

void PrintVersion(bool as_json) {
  const BuildInfo& info = GetBuildInfo();
  if (as_json) {
    const nlohmann::ordered_json json = {
        {"version", info.version},       {"revision", info.revision},
        {"build_type", info.build_type}, {"compiler", info.compiler},
        {"target", info.target},         {"sanitizers", info.sanitizers}};
    fmt::print("{}\n", JsonText(json, 2));
    return;
  }
  fmt::print("yamanote {} ({})\n", info.version, info.revision);
  fmt::print("  built      {} with {} for {}\n", info.build_type, info.compiler,
             info.target);
  fmt::print("  sanitizers {}\n", info.sanitizers);
}

}  // namespace

void AddVersionCommand(CLI::App& app) {
  CLI::App* const command =
      app.add_subcommand("version", "Print the version and how it was built");
  const auto as_json = std::make_shared<bool>(false);
  command->add_flag("--json", *as_json, "Print one JSON document");
  command->footer(
      "Examples:\n"
      "  yamanote version\n"
      "  yamanote version --json | jq -r .revision");
  command->callback([as_json] { PrintVersion(*as_json); });
}

}  // namespace yamanote::tools
