// tree.cc - walks CLI11's tree.

#include "tools/completion/tree.h"

#include "tools/config/options.h"

namespace yamanote::tools {
namespace {

// Validators of the form {a,b} show up in the type: "TEXT:{tcp,udp}".
std::vector<std::string> ChoicesInType(const std::string& type) {
  std::vector<std::string> choices;
  const size_t open = type.find('{');
  const size_t close = type.find('}', open == std::string::npos ? 0 : open);
  if (open == std::string::npos || close == std::string::npos) return choices;
  std::string word;
  for (size_t i = open + 1; i <= close; ++i) {
    if (type[i] == ',' || type[i] == '}') {
      choices.push_back(word);
      word.clear();
    } else {
      word += type[i];
    }
  }
  return choices;
}

// The configuration's flags know their choices themselves.
std::vector<std::string> ChoicesInTable(const std::string& flag) {
  for (const OptionSpec& option : Options()) {
    if (option.flag == flag) return option.choices;
  }
  return {};
}

FlagNode ReadFlag(const CLI::Option& option) {
  FlagNode flag;
  for (const std::string& name : option.get_lnames()) flag.names.push_back("--" + name);
  for (const std::string& name : option.get_snames()) flag.names.push_back("-" + name);
  flag.help = option.get_description();
  flag.group = option.get_group();
  if (option.get_items_expected_max() > 0 && option.get_type_size_max() > 0) {
    const std::string type = option.get_type_name();
    flag.choices = ChoicesInType(type);
    flag.value = type.substr(0, type.find(':'));
    // ADDR:PORT has a colon of its own.
    if (flag.choices.empty()) flag.value = type.empty() ? "VALUE" : type;
    if (flag.choices.empty() && !option.get_lnames().empty()) {
      flag.choices = ChoicesInTable("--" + option.get_lnames().front());
    }
  }
  return flag;
}

CommandNode ReadNode(const CLI::App& app, const std::string& path) {
  CommandNode node;
  node.path = path;
  node.name = app.get_name();
  node.help = app.get_description();
  node.footer = app.get_footer();
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_group().empty()) continue;
    if (option->nonpositional()) {
      node.flags.push_back(ReadFlag(*option));
    } else if (option->get_positional()) {
      node.positionals.push_back({option->get_name(), option->get_description(),
                                  ChoicesInType(option->get_type_name())});
    }
  }
  for (const CLI::App* child : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (child->get_group().empty()) continue;
    node.children.push_back(
        ReadNode(*child, path.empty() ? child->get_name() : path + " " + child->get_name()));
  }
  return node;
}

void Collect(const CommandNode& node, std::vector<const CommandNode*>& all) {
  all.push_back(&node);
  for (const CommandNode& child : node.children) Collect(child, all);
}

}  // namespace

CommandNode ReadTree(const CLI::App& app) { return ReadNode(app, ""); }

std::vector<const CommandNode*> Flatten(const CommandNode& node) {
  std::vector<const CommandNode*> all;
  Collect(node, all);
  return all;
}

}  // namespace yamanote::tools
