// command.cc - walks to the command that was named and prints its help.

#include "tools/help/command.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "tools/command.h"
#include "tools/config/values.h"

namespace yamanote::tools {
namespace {

void PrintHelp(const CLI::App& app, const std::vector<std::string>& words) {
  const CLI::App* command = &app;
  std::string path;  // Of the commands above `command`.
  for (const std::string& word : words) {
    const CLI::App* next = nullptr;
    std::vector<std::string> names;
    for (const CLI::App* child :
         command->get_subcommands([](const CLI::App*) { return true; })) {
      if (child->get_group().empty()) continue;
      names.push_back(child->get_name());
      if (child->get_name() == word) next = child;
    }
    path += (path.empty() ? "" : " ") + command->get_name();
    if (next == nullptr) {
      const std::string_view meant = ClosestName(
          word, std::vector<std::string_view>(names.begin(), names.end()));
      Fail(fmt::format("`{}` has no command '{}'; {}", path, word,
                       names.empty() ? fmt::format("see `{} --help`", path)
                       : !meant.empty()
                           ? fmt::format("did you mean {}?", meant)
                           : fmt::format("it has {}", fmt::join(names, ", "))),
           kUsage);
    }
    command = next;
  }
  path += (path.empty() ? "" : " ") + command->get_name();
  // Not command->help(), which would turn to `help` itself: it was parsed.
  const auto text = command->get_formatter()->make_help(
      command, path, CLI::AppFormatMode::Normal);
  std::fputs(text.c_str(), stdout);
}

}  // namespace

void AddHelpCommand(CLI::App& app) {
  CLI::App* const command =
      app.add_subcommand("help", "Explain a command, as its --help does");
  const auto words = std::make_shared<std::vector<std::string>>();
  command
      ->add_option("command", *words,
                   "The command to explain, all of its words")
      ->type_name("COMMAND");
  command->footer(
      "Examples:\n"
      "  yamanote help load\n"
      "  yamanote help serve kv");
  command->callback([&app, words] { PrintHelp(app, *words); });
}

}  // namespace yamanote::tools
