// shells.cc - completion scripts for bash, zsh and fish.

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "tools/completion/tree.h"

namespace yamanote::tools {
namespace {

// One line, and nothing that a shell would read inside single quotes.
std::string Plain(const std::string& text) {
  std::string plain;
  for (const char c : text.substr(0, text.find('\n'))) {
    if (c == '\'' || c == '`') continue;
    plain += c;
  }
  return plain;
}

// zsh's _arguments reads [ ] and : inside a description.
std::string ZshPlain(const std::string& text) {
  std::string plain;
  for (const char c : Plain(text)) {
    if (c == '[' || c == ']' || c == ':') plain += '\\';
    plain += c;
  }
  return plain;
}

std::vector<std::string> ChildNames(const CommandNode& node) {
  std::vector<std::string> names;
  for (const CommandNode& child : node.children) names.push_back(child.name);
  return names;
}

// What may follow `node` itself: subcommands, choices of positionals, flags.
std::vector<std::string> Words(const CommandNode& node) {
  std::vector<std::string> words = ChildNames(node);
  for (const PositionalNode& positional : node.positionals) {
    words.insert(words.end(), positional.choices.begin(),
                 positional.choices.end());
  }
  for (const FlagNode& flag : node.flags) {
    words.insert(words.end(), flag.names.begin(), flag.names.end());
  }
  return words;
}

bool IsFile(const FlagNode& flag) {
  return flag.value.find("FILE") != std::string::npos || flag.value == "PATH";
}

std::string ZshAction(const FlagNode& flag) {
  if (!flag.choices.empty())
    return fmt::format("({})", fmt::join(flag.choices, " "));
  return IsFile(flag) ? "_files" : "";
}

std::string BashCompletion(const CommandNode& root) {
  std::string after_command, after_flag, children;
  for (const CommandNode* node : Flatten(root)) {
    after_command += fmt::format("    '{}') words='{}' ;;\n", node->path,
                                 fmt::join(Words(*node), " "));
    for (const CommandNode& child : node->children) {
      children += fmt::format("      '{}:{}') path='{}' ;;\n", node->path,
                              child.name, child.path);
    }
    for (const FlagNode& flag : node->flags) {
      if (flag.value.empty()) continue;
      for (const std::string& name : flag.names) {
        const std::string where = fmt::format("    '{}:{}')", node->path, name);
        if (!flag.choices.empty()) {
          after_flag += fmt::format(
              "{} mapfile -t COMPREPLY < <(compgen -W '{}' -- \"$current\")"
              "; return ;;\n",
              where, fmt::join(flag.choices, " "));
        } else if (IsFile(flag)) {
          after_flag += fmt::format(
              "{} mapfile -t COMPREPLY < <(compgen -f -- \"$current\")"
              "; return ;;\n",
              where);
        } else {
          after_flag += fmt::format("{} COMPREPLY=(); return ;;\n", where);
        }
      }
    }
  }
  return fmt::format(
      R"(# bash completion for {0}; written by {0}.

_{0}() {{
  local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}}
  local path='' words='' i
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "$path:${{COMP_WORDS[i]}}" in
{1}    esac
  done
  case "$path:$previous" in
{2}  esac
  case "$path" in
{3}  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}}
complete -o filenames -F _{0} {0}
)",
      root.name, children, after_flag, after_command);
}

std::string ZshCompletion(const CommandNode& root) {
  std::string functions;
  for (const CommandNode* node : Flatten(root)) {
    std::string name = "_" + root.name;
    for (const char c : node->path.empty() ? "" : "_" + node->path) {
      name += c == ' ' ? '_' : c;
    }
    std::string specs;
    for (const FlagNode& flag : node->flags) {
      for (const std::string& flag_name : flag.names) {
        specs += fmt::format(
            " \\\n    '{}[{}]{}'", flag_name, ZshPlain(flag.help),
            flag.value.empty()
                ? ""
                : fmt::format(":{}:{}", ZshPlain(flag.value), ZshAction(flag)));
      }
    }
    int position = 1;
    for (const PositionalNode& positional : node->positionals) {
      specs += fmt::format(" \\\n    '{}:{}:({})'", position++,
                           ZshPlain(positional.name),
                           fmt::join(positional.choices, " "));
    }
    if (node->children.empty()) {
      functions += fmt::format("{}() {{\n  _arguments{}\n}}\n\n", name, specs);
      continue;
    }
    std::string described;
    for (const CommandNode& child : node->children) {
      described +=
          fmt::format("\n      '{}:{}'", child.name, ZshPlain(child.help));
    }
    functions += fmt::format(
        "{0}() {{\n"
        "  local line state\n"
        "  _arguments -C{1} \\\n    '1: :->command' \\\n    '*:: :->rest'\n"
        "  case $state in\n"
        "    command)\n"
        "      local -a commands=({2})\n"
        "      _describe command commands ;;\n"
        "    rest)\n"
        "      (( $+functions[{0}_$line[1]] )) && {0}_$line[1] ;;\n"
        "  esac\n"
        "}}\n\n",
        name, specs, described);
  }
  return fmt::format("#compdef {0}\n# Written by {0}.\n\n{1}_{0} \"$@\"\n",
                     root.name, functions);
}

std::string FishCompletion(const CommandNode& root) {
  std::string out = fmt::format(
      "# fish completion for {0}; written by {0}.\n\ncomplete -c {0} -f\n",
      root.name);
  for (const CommandNode* node : Flatten(root)) {
    // A subcommand's flags after its name; the first level before any of them.
    std::string condition;
    if (node->path.empty()) {
      condition = "__fish_use_subcommand";
    } else {
      for (size_t start = 0; start != std::string::npos;) {
        const size_t end = node->path.find(' ', start);
        condition += fmt::format("{}__fish_seen_subcommand_from {}",
                                 condition.empty() ? "" : "; and ",
                                 node->path.substr(start, end - start));
        start = end == std::string::npos ? end : end + 1;
      }
      // `native run` is not `run`.
      for (const CommandNode& other : root.children) {
        if (node->path == node->name && other.name != node->name &&
            std::ranges::count(ChildNames(other), node->name) != 0) {
          condition += fmt::format("; and not __fish_seen_subcommand_from {}",
                                   other.name);
        }
      }
      // Behind a subcommand only what is its own.
      if (!node->children.empty()) {
        condition += fmt::format("; and not __fish_seen_subcommand_from {}",
                                 fmt::join(ChildNames(*node), " "));
      }
    }
    const auto line = [&](const std::string& rest) {
      out += fmt::format("complete -c {} -n '{}' {}\n", root.name, condition,
                         rest);
    };
    for (const CommandNode& child : node->children) {
      line(fmt::format("-a {} -d '{}'", child.name, Plain(child.help)));
    }
    for (const PositionalNode& positional : node->positionals) {
      if (positional.choices.empty()) continue;
      line(fmt::format("-a '{}' -d '{}'", fmt::join(positional.choices, " "),
                       Plain(positional.help)));
    }
    for (const FlagNode& flag : node->flags) {
      std::string names;
      for (const std::string& name : flag.names) {
        names += name.starts_with("--") ? "-l " + name.substr(2) + " "
                                        : "-s " + name.substr(1) + " ";
      }
      const std::string action =
          flag.value.empty() ? ""
          : !flag.choices.empty()
              ? fmt::format("-x -a '{}' ", fmt::join(flag.choices, " "))
          : IsFile(flag) ? "-r -F "
                         : "-x ";
      line(fmt::format("{}{}-d '{}'", names, action, Plain(flag.help)));
    }
  }
  return out;
}

}  // namespace

std::string CompletionFor(const std::string& shell, const CommandNode& root) {
  return shell == "bash"  ? BashCompletion(root)
         : shell == "zsh" ? ZshCompletion(root)
                          : FishCompletion(root);
}

}  // namespace yamanote::tools
