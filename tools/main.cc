// main.cc - the `yamanote` command: gathers the subcommands and runs one.
//
// Exit status: 0 it worked, 1 it failed, 2 the command line or the configuration
// is wrong (tools/command.h).

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <string>
#include <string_view>
#include <vector>

#include "tools/command.h"
#include "tools/completion/command.h"
#include "tools/config/values.h"
#include "tools/doctor/command.h"
#include "tools/demo/command.h"
#include "tools/load/command.h"
#include "tools/policies/command.h"
#include "tools/report/command.h"
#include "tools/serve/command.h"
#include "tools/version/command.h"

namespace yamanote::tools {
namespace {

constexpr char kDescription[] =
    "Yamanote schedules latency-critical work at microsecond granularity, in user\n"
    "space, on stock Linux, under the scheduler of your choice.";

constexpr char kFooter[] =
    "`yamanote COMMAND --help` explains a command and shows examples.\n"
    "Exit status: 0 it worked, 1 it failed, 2 wrong command line or configuration.";

// The subcommand that the command line named, and its names from the first on.
const CLI::App& Named(const CLI::App& app, std::string& path) {
  const std::vector<CLI::App*> named = app.get_subcommands();
  if (named.empty()) return app;
  path += ' ' + named.front()->get_name();
  return Named(*named.front(), path);
}

// What was probably meant by `word`, which `command` does not know; empty if
// nothing comes close.
std::string MeantInstead(const CLI::App& command, const std::string& word) {
  std::vector<std::string> names;
  for (const CLI::Option* option : command.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  for (const CLI::App* child : command.get_subcommands([](const CLI::App*) { return true; })) {
    if (!child->get_group().empty()) names.push_back(child->get_name());
  }
  const std::string name = word.substr(0, word.find('='));
  return std::string(ClosestName(name, std::vector<std::string_view>(names.begin(), names.end())));
}

int ExplainUsage(const CLI::App& app, const CLI::ParseError& error) {
  std::string path;
  const CLI::App& command = Named(app, path);
  if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr) {
    // The first one; what follows it may be its value.
    const std::string word = app.remaining(true).front();
    const std::string meant = MeantInstead(command, word);
    std::fprintf(stderr, "yamanote: `yamanote%s` does not know '%s'%s\n", path.c_str(),
                 word.c_str(), meant.empty() ? "" : ("; did you mean " + meant + "?").c_str());
  } else {
    std::fprintf(stderr, "yamanote: %s\n", error.what());
  }
  std::fprintf(stderr, "Run `yamanote%s --help` for what is accepted.\n", path.c_str());
  return kUsage;
}

int Main(int argc, char** argv) {
  CLI::App app(kDescription, "yamanote");
  app.footer(kFooter);
  app.require_subcommand(0, 1);
  AddServeCommand(app);
  AddDoctorCommand(app);
  AddDemoCommand(app);
  AddLoadCommand(app);
  AddPoliciesCommand(app);
  AddReportCommand(app);
  AddVersionCommand(app);
  AddCompletionCommand(app);  // Last: it describes all the others.
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help) {
    return app.exit(help);
  } catch (const CLI::RuntimeError& ended) {
    return ended.get_exit_code();
  } catch (const CLI::ParseError& error) {
    return ExplainUsage(app, error);
  }
  if (app.get_subcommands().empty()) {
    std::fputs(app.help().c_str(), stderr);
    return kUsage;
  }
  return kOk;
}

}  // namespace
}  // namespace yamanote::tools

int main(int argc, char** argv) {
  try {
    return yamanote::tools::Main(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "yamanote: unexpected failure: %s; please report it\n",
                 error.what());
    return yamanote::tools::kFailed;
  }
}
