// command.h - what every subcommand of `yamanote` keeps to.
//
// A subcommand lives in tools/NAME/ and is added by one function that its
// command.h declares, called once from tools/main.cc:
//
//   void AddNameCommand(CLI::App& app);
//
// The function adds the subcommand, its flags, a footer with examples and a
// callback. The callback returns if all went well; it calls Fail() if not.
// Results go to standard output, everything else to standard error. With --json
// standard output is one JSON document and nothing else.

#pragma once

#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>

namespace yamanote::tools {

// The exit status of every subcommand. Scripts rely on it.
enum ExitCode : int {
  kOk = 0,
  kFailed = 1,  // The command was understood and did not succeed.
  kUsage = 2,   // The command line or the configuration is wrong.
};

// Ends the subcommand: prints "yamanote: MESSAGE" to standard error and makes
// the process exit with `code`. Only from a subcommand's callback.
[[noreturn]] inline void Fail(const std::string& message, ExitCode code = kFailed) {
  std::fflush(stdout);
  std::fprintf(stderr, "yamanote: %s\n", message.c_str());
  throw CLI::RuntimeError(code);
}

}  // namespace yamanote::tools
