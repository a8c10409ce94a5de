// tree.cc - walks CLI11's tree.

#include "tools/completion/tree.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace yamanote::tools {
namespace {

// "{tcp, udp}" is how OneOf() describes a choice; empty if it is none.
std::vector<std::string> Choices(const std::string& limits) {
  std::vector<std::string> choices;
  if (!limits.starts_with('{') || !limits.ends_with('}')) return choices;
  std::string word;
  for (size_t i = 1; i < limits.size(); ++i) {
    if (limits[i] == ',' || limits[i] == '}') {
      choices.push_back(word);
      word.clear();
    } else if (limits[i] != ' ') {
      word += limits[i];
    }
  }
  return choices;
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
                                  ReadFlag(*option).choices});
    }
  }
  for (const CLI::App* child :
       app.get_subcommands([](const CLI::App*) { return true; })) {
    if (child->get_group().empty()) continue;
    node.children.push_back(
        ReadNode(*child, path.empty() ? child->get_name()
                                      : path + " " + child->get_name()));
  }
  return node;
}

void Collect(const CommandNode& node, std::vector<const CommandNode*>& all) {
  all.push_back(&node);
  for (const CommandNode& child : node.children) Collect(child, all);
}

}  // namespace

std::string FlagNode::Remarks() const {
  std::string text = limits;
  const auto add = [&text](const std::string& remark) {
    text += (text.empty() ? "" : "; ") + remark;
  };
  if (!standard.empty()) add("default " + standard);
  if (required) add("required");
  return text.empty() ? text : " [" + text + "]";
}

FlagNode ReadFlag(const CLI::Option& option) {
  FlagNode flag;
  for (const std::string& name : option.get_lnames())
    flag.names.push_back("--" + name);
  for (const std::string& name : option.get_snames())
    flag.names.push_back("-" + name);
  flag.help = option.get_description();
  flag.group = option.get_group();
  if (option.get_items_expected_max() == 0 || option.get_type_size_max() == 0)
    return flag;
  const std::string type = option.get_type_name();
  const size_t colon = type.find(':');
  flag.value = type.empty() ? "VALUE" : type.substr(0, colon);
  if (colon != std::string::npos) flag.limits = type.substr(colon + 1);
  flag.choices = Choices(flag.limits);
  if (!flag.choices.empty())
    flag.limits = fmt::format("{}", fmt::join(flag.choices, ", "));
  flag.standard = option.get_default_str();
  flag.required = option.get_required();
  return flag;
}

CommandNode ReadTree(const CLI::App& app) { return ReadNode(app, ""); }

std::vector<const CommandNode*> Flatten(const CommandNode& node) {
  std::vector<const CommandNode*> all;
  Collect(node, all);
  return all;
}

}  // namespace yamanote::tools
