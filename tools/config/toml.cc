// toml.cc - reads a configuration file into settings.
//
// A TOML value becomes the text that its flag would take, so there is one
// parser for both. What is checked here is what only a file can get wrong:
// syntax, unknown names, and values of the wrong TOML type.

#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>
#include <cstddef>
#include <fstream>
#include <limits>
#include <sstream>

#include "tools/config/options.h"
#include "tools/config/values.h"

namespace yamanote::tools {
namespace {

// More than a configuration has; protects against a mistaken file name.
constexpr size_t kMaxFileBytes = 1024 * 1024;

std::string_view TypeName(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::table:
      return "a table";
    case toml::node_type::array:
      return "an array";
    case toml::node_type::string:
      return "a string";
    case toml::node_type::integer:
      return "a number";
    case toml::node_type::floating_point:
      return "a fraction";
    case toml::node_type::boolean:
      return "a boolean";
    default:
      return "a date or time";
  }
}

class Reader {
 public:
  explicit Reader(std::string_view name) : name_(name) {}

  Result<std::vector<Setting>> Read(const toml::table& file) {
    for (const auto& [key, node] : file) {
      const toml::table* const table = node.as_table();
      if (!IsSection(key.str())) {
        UnknownSection(key.str(), node);
      } else if (table == nullptr) {
        Add(node, fmt::format("{} is {}; write [{}] and its keys below",
                              key.str(), TypeName(node), key.str()));
      } else {
        ReadSection(key.str(), *table);
      }
    }
    if (!problems_.empty())
      return MakeError(ErrorCode::kInvalidArgument, problems_);
    return std::move(settings_);
  }

 private:
  static bool IsSection(std::string_view name) {
    for (const SectionInfo& section : Sections()) {
      if (section.name == name) return true;
    }
    return false;
  }

  std::string Where(const toml::node& node) const {
    return fmt::format("{}:{}", name_, node.source().begin.line);
  }

  void Add(const toml::node& node, std::string_view problem) {
    if (!problems_.empty()) problems_ += '\n';
    problems_ += fmt::format("{}: {}", Where(node), problem);
  }

  void UnknownSection(std::string_view name, const toml::node& node) {
    std::vector<std::string_view> names;
    for (const SectionInfo& section : Sections()) names.push_back(section.name);
    // A key of some section, written before its [section] line?
    for (const OptionSpec& option : Options()) {
      if (option.key == name && !node.is_table()) {
        return Add(node,
                   fmt::format("{} is a key of [{}]; write it below that line",
                               name, option.section));
      }
    }
    const std::string_view close = ClosestName(name, names);
    Add(node,
        fmt::format("[{}] is no section; {}", name,
                    close.empty() ? fmt::format("the sections are {}",
                                                fmt::join(names, ", "))
                                  : fmt::format("did you mean [{}]?", close)));
  }

  void UnknownKey(std::string_view section, std::string_view key,
                  const toml::node& node) {
    std::vector<std::string_view> names;
    for (const OptionSpec& option : Options()) {
      if (option.section == section) names.push_back(option.key);
      if (option.key == key) {
        return Add(node, fmt::format("{0}.{1} is no key; {1} is one of [{2}]",
                                     section, key, option.section));
      }
    }
    const std::string_view close = ClosestName(key, names);
    Add(node,
        fmt::format("{}.{} is no key; {}", section, key,
                    close.empty() ? fmt::format("[{}] has {}", section,
                                                fmt::join(names, ", "))
                                  : fmt::format("did you mean {}?", close)));
  }

  void ReadSection(std::string_view section, const toml::table& table) {
    for (const auto& [key, node] : table) {
      const OptionSpec* const option = FindOption(section, key.str());
      if (option == nullptr) {
        UnknownKey(section, key.str(), node);
      } else if (option->kind == ValueKind::kClass) {
        ReadClasses(*option, node);
      } else {
        ReadValue(*option, node);
      }
    }
  }

  void ReadValue(const OptionSpec& option, const toml::node& node) {
    std::string text;
    if (const auto string = node.value_exact<std::string>()) {
      text = *string;
      if (option.kind == ValueKind::kBool) {
        return WrongType(option, node, "true or false, without quotes");
      }
    } else if (const auto boolean = node.value_exact<bool>()) {
      if (option.kind != ValueKind::kBool)
        return WrongType(option, node, Wanted(option));
      text = *boolean ? "true" : "false";
    } else if (const auto fraction = node.value_exact<double>();
               fraction && option.kind == ValueKind::kShare) {
      text = fmt::format("{}", *fraction);
    } else if (const auto integer = node.value_exact<int64_t>()) {
      if (option.kind != ValueKind::kCount &&
          option.kind != ValueKind::kShare &&
          option.kind != ValueKind::kCpuList) {
        return WrongType(option, node, Wanted(option));
      }
      text = fmt::format("{}", *integer);
    } else if (node.is_array() && option.kind == ValueKind::kCpuList) {
      for (const toml::node& element : *node.as_array()) {
        const auto cpu = element.value_exact<int64_t>();
        if (!cpu)
          return WrongType(option, element,
                           "numbers without quotes in an array such as [0, 1]");
        text += fmt::format("{}{}", text.empty() ? "" : ",", *cpu);
      }
    } else {
      return WrongType(option, node, Wanted(option));
    }
    settings_.push_back({&option, std::move(text), Where(node)});
  }

  static std::string_view Wanted(const OptionSpec& option) {
    switch (option.kind) {
      case ValueKind::kBool:
        return "true or false";
      case ValueKind::kCount:
        return "a whole number";
      case ValueKind::kShare:
        return "a number such as 0.7, or \"70%\"";
      case ValueKind::kDuration:
        return "a string with its unit, such as \"5us\"";
      case ValueKind::kBytes:
        return "a string with its unit, such as \"64KiB\"";
      case ValueKind::kCpuList:
        return "a string such as \"0-3\" or an array such as [0, 1]";
      default:
        return "a string";
    }
  }

  void WrongType(const OptionSpec& option, const toml::node& node,
                 std::string_view wanted) {
    Add(node, fmt::format("{} is {}; write {} (limits: {})", option.Name(),
                          TypeName(node), wanted, option.limits));
  }

  void ReadClasses(const OptionSpec& option, const toml::node& node) {
    const toml::array* const array = node.as_array();
    if (array == nullptr) {
      return Add(
          node,
          fmt::format("{} is {}; write [[scheduling.classes]] for each class",
                      option.Name(), TypeName(node)));
    }
    for (const toml::node& element : *array) {
      const toml::table* const table = element.as_table();
      if (table == nullptr) {
        Add(element,
            "scheduling.classes holds tables; write [[scheduling.classes]]");
        continue;
      }
      ReadClass(option, *table);
    }
  }

  static bool IsTimeOfClass(std::string_view key) {
    return key == "slo" || key == "budget" || key == "period";
  }

  void ReadClass(const OptionSpec& option, const toml::table& table) {
    std::string name, rest;
    for (const auto& [key, node] : table) {
      const auto string = node.value_exact<std::string>();
      const auto integer = node.value_exact<int64_t>();
      const auto yes = node.value_exact<bool>();
      const auto append = [&](std::string_view value) {
        rest +=
            fmt::format("{}{}={}", rest.empty() ? "" : ",", key.str(), value);
      };
      if (key.str() == "name" && string &&
          string->find_first_of(":,") == std::string::npos) {
        name = *string;
      } else if (IsTimeOfClass(key.str()) && string) {
        append(*string);
      } else if (key.str() == "limit" && (string || integer)) {
        append(string ? *string : fmt::format("{}", *integer));
      } else if (key.str() == "background" && yes) {
        append(*yes ? "true" : "false");
      } else if (key.str() == "name" || key.str() == "limit" ||
                 key.str() == "background" || IsTimeOfClass(key.str())) {
        Add(node,
            fmt::format("scheduling.classes.{} is {} that can't be used; write "
                        "name = \"short\", slo = \"50us\", limit = 1000, "
                        "background = true, budget = \"2ms\" or period = "
                        "\"10ms\"",
                        key.str(), TypeName(node)));
        return;
      } else {
        Add(node, fmt::format("scheduling.classes.{} is no key; a class has "
                              "name, slo, limit, background, budget and period",
                              key.str()));
        return;
      }
    }
    if (name.empty())
      return Add(table,
                 "scheduling.classes has no name; write name = \"short\"");
    settings_.push_back(
        {&option, fmt::format("{}:{}", name, rest), Where(table)});
  }

  const std::string name_;
  std::vector<Setting> settings_;
  std::string problems_;
};

}  // namespace

Result<std::vector<Setting>> ParseToml(std::string_view text,
                                       std::string_view name) {
  // The parser recurses for each part of a dotted key.
  constexpr ptrdiff_t kMostDots = 256;
  size_t number = 0;
  for (std::string_view rest = text; !rest.empty();) {
    const size_t end = rest.find('\n');
    const std::string_view line = rest.substr(0, end);
    ++number;
    if (std::ranges::count(line.substr(0, line.find_first_of("=\"'#")), '.') >
        kMostDots) {
      return MakeError(
          ErrorCode::kInvalidArgument,
          fmt::format("{}:{}: is not TOML: a key has more than {} parts", name,
                      number, kMostDots));
    }
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  }
  toml::table file;
  try {
    file = toml::parse(text, name);
  } catch (const toml::parse_error& error) {
    return MakeError(
        ErrorCode::kInvalidArgument,
        fmt::format("{}:{}: is not TOML: {}", name, error.source().begin.line,
                    error.description()));
  }
  return Reader(name).Read(file);
}

Result<std::vector<Setting>> ReadToml(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    const int error = errno;
    return MakeError(
        ErrorCode::kNotFound,
        fmt::format("{}: can't be opened ({}); --config names a readable file",
                    path, std::generic_category().message(error)),
        error);
  }
  std::string text(kMaxFileBytes + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(file.gcount()));
  if (file.bad() || (text.empty() && !file.eof())) {
    return MakeError(ErrorCode::kNotFound,
                     fmt::format("{}: can't be read; is it a file?", path));
  }
  if (text.size() > kMaxFileBytes) {
    return MakeError(
        ErrorCode::kInvalidArgument,
        fmt::format("{}: is larger than 1MiB; no configuration is", path));
  }
  return ParseToml(text, path);
}

}  // namespace yamanote::tools
