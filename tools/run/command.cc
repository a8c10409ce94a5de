// command.cc - `yamanote run`: a service with what it needs to find the arbiter, or an
// unmodified program as a best-effort application.

#include "tools/run/command.h"

#include <fmt/format.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "arbiter/client.h"
#include "arbiter/server.h"
#include "tools/command.h"
#include "tools/run/batch.h"

namespace yamanote::tools {
namespace {

struct RunFlags {
  std::string socket;
  std::string name;
  unsigned guaranteed = 0;  // 0: was not said.
  unsigned burst = arbiter::kMostCores;
  bool best_effort = false;
  std::vector<std::string> program;
};

std::string NameOf(const RunFlags& flags, const std::string& program) {
  if (!flags.name.empty()) return flags.name;
  return std::filesystem::path(program).filename();
}

// A program that is built with Yamanote registers itself.
void RunService(const RunFlags& flags, const std::string& socket,
                const std::vector<std::string>& arguments) {
  setenv("YAMANOTE_ARBITER", socket.c_str(), 1);
  setenv("YAMANOTE_GUARANTEED",
         std::to_string(std::max(flags.guaranteed, 1U)).c_str(), 1);
  setenv("YAMANOTE_BURST", std::to_string(flags.burst).c_str(), 1);
  setenv("YAMANOTE_NAME", NameOf(flags, arguments[0]).c_str(), 1);
  std::vector<char*> argv;
  for (const std::string& one : arguments)
    argv.push_back(const_cast<char*>(one.c_str()));
  argv.push_back(nullptr);
  execvp(argv[0], argv.data());
  Fail(fmt::format("can't run '{}': {}", arguments[0], std::strerror(errno)));
}

void Run(const RunFlags& flags) {
  const std::vector<std::string>& arguments = flags.program;
  if (arguments.empty()) {
    Fail(
        "no program is named; write it behind `--`, for example "
        "`yamanote run --best-effort -- make -j4`",
        kUsage);
  }
  const std::string socket =
      flags.socket.empty() ? arbiter::DefaultSocket() : flags.socket;
  if (!flags.best_effort) {
    RunService(flags, socket, arguments);
    return;
  }
  if (flags.guaranteed != 0) {
    Fail(fmt::format("--guaranteed is {}, but a --best-effort program has what "
                     "is left; leave one of the two out",
                     flags.guaranteed),
         kUsage);
  }
  Result<std::unique_ptr<arbiter::Client>> client = arbiter::Client::Connect(
      {.socket = socket,
       .name = NameOf(flags, arguments[0]),
       .allocation = "static",
       .guaranteed = 0,
       .most = flags.burst >= arbiter::kMostCores ? 0 : flags.burst,
       .best_effort = true,
       .opaque = true});
  if (!client) Fail(client.error().message);
  const Result<int> status = RunBatch(**client, arguments);
  if (!status) Fail(status.error().message);
  if (*status != 0) throw CLI::RuntimeError(*status);
}

}  // namespace

void AddRunCommand(CLI::App& app) {
  CLI::App* const command = app.add_subcommand(
      "run", "Run a program on cores that the arbiter hands out");
  const auto flags = std::make_shared<RunFlags>();
  command
      ->add_option("--socket", flags->socket,
                   "The arbiter's socket; default: where yamanoted listens "
                   "without --socket")
      ->type_name("PATH");
  command
      ->add_option("--name", flags->name,
                   "For `yamanote apps`; default: the program's")
      ->type_name("NAME");
  command
      ->add_option("--guaranteed", flags->guaranteed,
                   "Cores that are its whenever it has work")
      ->type_name("COUNT")
      ->check(Within(1U, arbiter::kMostCores))
      ->default_str("1");
  command
      ->add_option("--burst", flags->burst,
                   "Cores beyond those that it may get; of a best-effort "
                   "program all that it may have")
      ->type_name("COUNT")
      ->check(Within(0U, arbiter::kMostCores))
      ->capture_default_str();
  command->add_flag("--best-effort", flags->best_effort,
                    "An unmodified program: it gets the cores that nobody else "
                    "wants, and runs beneath those who do (SCHED_IDLE)");
  command
      ->add_option("program", flags->program,
                   "The program and its arguments, behind `--`")
      ->type_name("-- PROGRAM...");
  command->footer(
      "Without --best-effort the program is one that is built with Yamanote "
      "(a service, `yamanote serve`): it registers itself. Needs a running "
      "yamanoted. The exit status is the program's, 128 and the signal's "
      "number if a signal ended it.\n\n"
      "Examples:\n"
      "  yamanote run --guaranteed 1 --burst 4 -- yamanote serve kv\n"
      "  yamanote run --best-effort -- make -j8");
  command->callback([flags] { Run(*flags); });
}

}  // namespace yamanote::tools
