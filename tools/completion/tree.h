// tree.h - the subcommands and flags of a command line, as plain data.
//
// Completion for three shells and the man page are written from this one walk
// over the parser's own tree, so none of them can miss a flag.

#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace yamanote::tools {

struct FlagNode {
  std::vector<std::string> names;  // "--json", "-h"; the long ones first.
  std::string value;               // "FILE"; empty: it takes none.
  std::string help;
  std::string group;                 // "[scheduling]", "Options".
  std::vector<std::string> choices;  // What may be completed; may be empty.
  std::string limits;    // "1 .. 64", "tcp, udp"; empty: none are known.
  std::string standard;  // The default; empty: there is none.
  bool required = false;

  // " [1 .. 64; default 1]", to be put after `help`; empty if there is nothing.
  std::string Remarks() const;
};

// What CLI11 knows of a flag. Type names of flags have no colon: what follows
// one in CLI11's type is the limits.
FlagNode ReadFlag(const CLI::Option& option);

struct PositionalNode {
  std::string name;
  std::string help;
  std::vector<std::string> choices;
};

struct CommandNode {
  std::string path;  // "", "serve", "serve kv".
  std::string name;
  std::string help;
  std::string footer;
  std::vector<FlagNode> flags;
  std::vector<PositionalNode> positionals;
  std::vector<CommandNode> children;  // Hidden ones are left out.
};

CommandNode ReadTree(const CLI::App& app);

// `node` and all below it, parents first.
std::vector<const CommandNode*> Flatten(const CommandNode& node);

// A script for `shell`: bash, zsh or fish.
std::string CompletionFor(const std::string& shell, const CommandNode& root);
// In the man(7) macros. `version` is printed in the footer.
std::string ManPage(const CommandNode& root, const std::string& version);
// Of yamanoted, which has no subcommands.
std::string DaemonManPage(const CommandNode& root, const std::string& version);

}  // namespace yamanote::tools
