// command.cc - prints completion scripts and, hidden, the man page.

#include "tools/completion/command.h"

#include <fmt/core.h>

#include <memory>
#include <string>

#include "tools/command.h"
#include "tools/completion/tree.h"
#include "tools/version/build_info.h"

namespace yamanote::tools {

void AddCompletionCommand(CLI::App& app) {
  CLI::App* const command = app.add_subcommand(
      "completion", "Print a completion script for your shell");
  const auto shell = std::make_shared<std::string>();
  command->add_option("shell", *shell, "The shell: bash, zsh or fish")
      ->required()
      ->type_name("NAME")
      ->check(OneOf({"bash", "zsh", "fish"}));
  command->footer(
      "`make install` puts the scripts where the shells look.\n"
      "\n"
      "Examples, to do it by hand:\n"
      "  yamanote completion bash > "
      "~/.local/share/bash-completion/completions/yamanote\n"
      "  yamanote completion zsh > \"${fpath[1]}/_yamanote\"\n"
      "  yamanote completion fish > ~/.config/fish/completions/yamanote.fish");
  command->callback([&app, shell] {
    fmt::print("{}", CompletionFor(*shell, ReadTree(app)));
  });

  CLI::App* const man = app.add_subcommand("man", "Print the man page");
  man->group("");  // Hidden: the build calls it.
  man->callback([&app] {
    fmt::print("{}",
               ManPage(ReadTree(app), std::string(GetBuildInfo().version)));
  });
}

}  // namespace yamanote::tools
