// command.h - what every subcommand of `yamanote` keeps to.
//
// A subcommand lives in tools/NAME/ and is added by one function that its
// command.h declares, called once from tools/main.cc:
//
//   void AddNameCommand(CLI::App& app);
//
// The function adds the subcommand, its flags, a footer with examples and a
// callback. The callback returns if all went well; it calls Fail() if not.
//
// Help is laid out by tools/help: a flag's type_name() says what it takes and
// in which unit ("SECONDS"), its check (Within, OneOf) the limits, and
// capture_default_str() or default_str() the default. In a footer, lines that
// begin with a space stay as they are; the others are wrapped.
//
// Results go to standard output, everything else to standard error. With --json
// standard output is one JSON document and nothing else.

#pragma once

#include <CLI/CLI.hpp>
#include <charconv>
#include <concepts>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

namespace yamanote::tools {

// The exit status of every subcommand. Scripts rely on it.
enum ExitCode : int {
  kOk = 0,
  kFailed = 1,  // The command was understood and did not succeed.
  kUsage = 2,   // The command line or the configuration is wrong.
};

// Ends the subcommand: prints "yamanote: MESSAGE" to standard error and makes
// the process exit with `code`. Only from a subcommand's callback.
[[noreturn]] inline void Fail(const std::string& message,
                              ExitCode code = kFailed) {
  std::fflush(stdout);
  std::fprintf(stderr, "yamanote: %s\n", message.c_str());
  throw CLI::RuntimeError(code);
}

// Refuses what is no number from `low` to `high`, both included; whole numbers
// only if the limits are. Shown by help as the limits.
template <typename Number>
CLI::Validator Within(Number low, Number high) {
  const auto text = [](Number value) {
    char digits[32];
    std::to_chars_result end{};
    if constexpr (std::integral<Number>) {
      end = std::to_chars(digits, digits + sizeof digits, value);
    } else {
      end = std::to_chars(digits, digits + sizeof digits, value,
                          std::chars_format::fixed);
    }
    return std::string(digits, end.ptr);
  };
  const std::string limits = text(low) + " .. " + text(high);
  const auto check = [low, high, limits](std::string& given) -> std::string {
    Number value{};
    const char* const end = given.data() + given.size();
    std::from_chars_result read{};
    if constexpr (std::integral<Number>) {
      read = std::from_chars(given.data(), end, value);
    } else {
      read =
          std::from_chars(given.data(), end, value, std::chars_format::fixed);
    }
    if (read.ec == std::errc() && read.ptr == end && value >= low &&
        value <= high)
      return "";
    return "'" + given + "' is no " +
           (std::integral<Number> ? "whole number" : "number") +
           " within the limits " + limits + "; write one that is";
  };
  return {check, limits};
}

// Refuses what is none of `words`. Shown by help as the limits, and completed.
inline CLI::Validator OneOf(const std::vector<std::string>& words) {
  std::string list;
  for (const std::string& word : words)
    list += (list.empty() ? "" : ", ") + word;
  const auto check = [words, list](std::string& given) -> std::string {
    for (const std::string& word : words) {
      if (given == word) return "";
    }
    return "'" + given + "' is none of " + list;
  };
  return {check, "{" + list + "}"};
}

}  // namespace yamanote::tools
