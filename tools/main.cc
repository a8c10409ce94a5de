// main.cc - the `yamanote` command: gathers the subcommands and runs one.
//
// Exit status: 0 it worked, 1 it failed, 2 the command line or the configuration
// is wrong (tools/command.h).

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>

#include "tools/command.h"
#include "tools/completion/command.h"
#include "tools/doctor/command.h"
#include "tools/demo/command.h"
#include "tools/load/command.h"
#include "tools/policies/command.h"
#include "tools/report/command.h"
#include "tools/version/command.h"

namespace yamanote::tools {
namespace {

constexpr char kDescription[] =
    "Yamanote schedules latency-critical work at microsecond granularity, in user\n"
    "space, on stock Linux, under the scheduler of your choice.";

constexpr char kFooter[] =
    "`yamanote COMMAND --help` explains a command and shows examples.\n"
    "Exit status: 0 it worked, 1 it failed, 2 wrong command line or configuration.";

int Main(int argc, char** argv) {
  CLI::App app(kDescription, "yamanote");
  app.footer(kFooter);
  app.require_subcommand(0, 1);
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
    std::fprintf(stderr, "yamanote: %s\n", error.what());
    std::fprintf(stderr, "Run `yamanote%s%s --help` for what is accepted.\n",
                 app.get_subcommands().empty() ? "" : " ",
                 app.get_subcommands().empty()
                     ? ""
                     : app.get_subcommands().front()->get_name().c_str());
    return kUsage;
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
