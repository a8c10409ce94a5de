// main.cc - the `yamanote` command: gathers the subcommands and runs one.
//
// Exit status: 0 it worked, 1 it failed, 2 the command line or the
// configuration is wrong (tools/command.h).

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "tools/apps/command.h"
#include "tools/bench/command.h"
#include "tools/command.h"
#include "tools/completion/command.h"
#include "tools/config/values.h"
#include "tools/demo/command.h"
#include "tools/doctor/command.h"
#include "tools/help/command.h"
#include "tools/help/layout.h"
#include "tools/load/command.h"
#include "tools/native/command.h"
#include "tools/output/output.h"
#include "tools/policies/command.h"
#include "tools/report/command.h"
#include "tools/run/command.h"
#include "tools/serve/command.h"
#include "tools/sim/command.h"
#include "tools/version/build_info.h"
#include "tools/version/command.h"

namespace yamanote::tools {
namespace {

constexpr char kDescription[] =
    "Yamanote schedules latency-critical work at microsecond granularity, in "
    "user\n"
    "space, on stock Linux, under the scheduler of your choice";

constexpr char kFooter[] =
    "`yamanote help COMMAND` explains a command and shows examples.\n"
    "Exit status: 0 it worked, 1 it failed, 2 wrong command line or "
    "configuration.\n"
    "\n"
    "Examples:\n"
    "  yamanote demo\n"
    "  yamanote serve kv --preset zygos --listen 127.0.0.1:11211\n"
    "  yamanote help load kv";

// The subcommand that the command line named, and its names from the first on.
const CLI::App* Named(const CLI::App* app, std::string& path) {
  const std::vector<CLI::App*> named = app->get_subcommands();
  if (named.empty()) return app;
  path += ' ' + named.front()->get_name();
  return Named(named.front(), path);
}

std::vector<std::string> Children(const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::App* child :
       command.get_subcommands([](const CLI::App*) { return true; })) {
    if (!child->get_group().empty()) names.push_back(child->get_name());
  }
  return names;
}

// What to write instead of `word`, which `command` does not know.
std::string Remedy(const CLI::App& command, const std::string& word) {
  std::vector<std::string> names = Children(command);
  const std::string children = fmt::format("{}", fmt::join(names, ", "));
  for (const CLI::Option* option : command.get_options()) {
    for (const std::string& name : option->get_lnames())
      names.push_back("--" + name);
  }
  const std::string name = word.substr(0, word.find('='));
  const std::string_view meant = ClosestName(
      name, std::vector<std::string_view>(names.begin(), names.end()));
  if (!meant.empty()) return fmt::format("did you mean {}?", meant);
  if (word.starts_with('-')) return "leave it out";
  return children.empty() ? "it takes no such word" : "it has " + children;
}

int ExplainUsage(const CLI::App& app, const CLI::ParseError& error) {
  std::string path;
  const CLI::App& command = *Named(&app, path);
  const std::vector<std::string> unknown = app.remaining(true);
  const bool lacks_child = command.get_require_subcommand_min() > 0 &&
                           command.get_subcommands().empty();
  if (!unknown.empty()) {
    // The first one; what follows it may be its value.
    std::fprintf(stderr, "yamanote: `yamanote%s` does not know '%s'; %s\n",
                 path.c_str(), unknown.front().c_str(),
                 Remedy(command, unknown.front()).c_str());
  } else if (lacks_child) {
    std::fprintf(stderr, "yamanote: `yamanote%s` needs one of %s after it\n",
                 path.c_str(),
                 fmt::format("{}", fmt::join(Children(command), ", ")).c_str());
  } else {
    std::fprintf(stderr, "yamanote: %s\n", error.what());
  }
  std::fprintf(stderr, "Run `yamanote%s --help` for what is accepted.\n",
               path.c_str());
  return kUsage;
}

int Main(int argc, char** argv) {
  CLI::App app(kDescription, "yamanote");
  // Inherited by the others.
  app.formatter(std::make_shared<HelpLayout>(HelpWidth()));
  app.set_help_flag("-h,--help", "Explain this command and exit");
  app.set_version_flag("-V,--version",
                       fmt::format("yamanote {} ({})", GetBuildInfo().version,
                                   GetBuildInfo().revision),
                       "Print the version and exit");
  app.footer(kFooter);
  app.require_subcommand(0, 1);
  AddServeCommand(app);
  AddDoctorCommand(app);
  AddDemoCommand(app);
  AddLoadCommand(app);
  AddSimCommand(app);
  AddBenchCommand(app);
  AddAppsCommand(app);
  AddRunCommand(app);
  AddNativeCommand(app);
  AddPoliciesCommand(app);
  AddReportCommand(app);
  AddVersionCommand(app);
  AddHelpCommand(app);
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
  using namespace yamanote::tools;
  OpenStandardStreams();
  int code = kFailed;
  try {
    code = Main(argc, argv);
  } catch (const std::bad_alloc&) {
    std::fputs(
        "yamanote: no memory left; raise `ulimit -v` or the container's "
        "limit\n",
        stderr);
    return kFailed;
  } catch (const std::system_error& error) {
    // A kernel thread, or printing, which is said below.
    if (error.code() == std::errc::resource_unavailable_try_again) {
      std::fputs(
          "yamanote: the system gives no further thread; raise "
          "`ulimit -u`, `ulimit -v` or the container's pids.max\n",
          stderr);
      return kFailed;
    }
    if (std::ferror(stdout) == 0) {
      std::fprintf(stderr,
                   "yamanote: unexpected failure: %s; please report it\n",
                   error.what());
      return kFailed;
    }
  } catch (const std::exception& error) {
    // Printing throws if nothing takes what is printed; said below.
    if (std::ferror(stdout) == 0) {
      std::fprintf(stderr,
                   "yamanote: unexpected failure: %s; please report it\n",
                   error.what());
      return kFailed;
    }
  }
  if (const auto printed = FlushStandardOutput(); !printed) {
    std::fprintf(stderr, "yamanote: %s\n", printed.error().message.c_str());
    if (code == kOk) code = kFailed;
  }
  return code;
}
