// test_settings.h - settings of a scenario, for tests.

#pragma once

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "tools/config/options.h"

namespace yamanote::simulation {

// Of "section.key" and its value each.
inline std::vector<tools::Setting> Settings(
    const std::vector<std::pair<std::string, std::string>>& values) {
  std::vector<tools::Setting> settings;
  for (const auto& [name, text] : values) {
    const std::size_t dot = name.find('.');
    const tools::OptionSpec* const option =
        tools::FindOption(name.substr(0, dot), name.substr(dot + 1));
    EXPECT_NE(option, nullptr) << name;
    settings.push_back({option, text, option->flag});
  }
  return settings;
}

}  // namespace yamanote::simulation
