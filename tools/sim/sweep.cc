// sweep.cc - combinations of values, each made into a scenario.

#include "tools/sim/sweep.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <map>

#include "tools/config/options.h"
#include "tools/config/values.h"
#include "tools/load/units.h"
#include "tools/sim/limits.h"

namespace yamanote::simulation {
namespace {

constexpr std::size_t kMostValues = 1'000;

// An option of a scenario by its flag, with or without dashes: "load", "cost-hop".
const tools::OptionSpec* FindKey(std::string_view name,
                                 std::vector<std::string_view>& names) {
  while (name.starts_with('-')) name.remove_prefix(1);
  const tools::OptionSpec* found = nullptr;
  for (const tools::OptionSpec& option : tools::Options()) {
    if (option.section != "scheduling" && !tools::IsSimulation(option.section))
      continue;
    const std::string_view flag = std::string_view(option.flag).substr(2);
    names.push_back(flag);
    if (flag == name) found = &option;
  }
  return found;
}

std::optional<double> Number(std::string_view text) {
  double value = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() ||
      !std::isfinite(value))
    return std::nullopt;
  return value;
}

// "LOW..HIGH/STEP", both included.
Result<std::vector<std::string>> ReadRange(std::string_view text) {
  const std::size_t dots = text.find("..");
  const std::size_t slash = text.find('/', dots);
  const auto wrong = [&](std::string_view why) {
    return Wrong(
        fmt::format("--vary: '{}' {}; write LOW..HIGH/STEP, for "
                    "example load=0.1..0.9/0.1",
                    text.substr(0, 60), why));
  };
  if (slash == std::string_view::npos) return wrong("has no /STEP");
  const auto low = Number(text.substr(0, dots));
  const auto high = Number(text.substr(dots + 2, slash - dots - 2));
  const auto step = Number(text.substr(slash + 1));
  if (!low || !high || !step) return wrong("is not three numbers");
  if (!(*step > 0) || *high < *low) return wrong("goes nowhere");
  const double count = std::floor((*high - *low) / *step + 1e-9) + 1;
  if (count > static_cast<double>(kMostValues)) {
    return wrong(fmt::format("has {:.0f} values; at most {} are run", count,
                             kMostValues));
  }
  std::vector<std::string> values;
  for (int i = 0; i < static_cast<int>(count); ++i)
    values.push_back(fmt::format("{:.10g}", *low + i * *step));
  return values;
}

// "load 0.9, preset ix".
std::string Describe(const std::vector<Variation>& variations,
                     const std::vector<std::string>& values) {
  std::string text;
  for (std::size_t i = 0; i < variations.size(); ++i) {
    text += fmt::format("{}{} {}", i == 0 ? "" : ", ",
                        variations[i].option->key, values[i]);
  }
  return text;
}

}  // namespace

Result<Variation> ParseVariation(std::string_view text) {
  const std::size_t equals = text.find('=');
  if (equals == std::string_view::npos || equals + 1 == text.size()) {
    return Wrong(
        fmt::format("--vary is '{}'; write KEY=VALUE,VALUE,..., for example "
                    "load=0.1..0.9/0.1 or preset=ix,zygos,yamanote",
                    text.substr(0, 60)));
  }
  std::vector<std::string_view> names;
  const std::string_view key = text.substr(0, equals);
  const std::string_view given = text.substr(equals + 1);
  Variation variation{.option = FindKey(key, names), .values = {}};
  if (variation.option == nullptr) {
    const std::string_view close = tools::ClosestName(key, names);
    return Wrong(fmt::format(
        "--vary: '{}' is no key of a scenario; {}", key.substr(0, 60),
        close.empty() ? "`yamanote help sim` lists them"
                      : fmt::format("did you mean {}?", close)));
  }
  const bool numeric = variation.option->kind == tools::ValueKind::kShare ||
                       variation.option->kind == tools::ValueKind::kCount;
  if (numeric && given.find("..") != std::string_view::npos) {
    Result<std::vector<std::string>> values = ReadRange(given);
    if (!values) return tl::unexpected(values.error());
    variation.values = std::move(*values);
    return variation;
  }
  const char separator = given.find('|') != std::string_view::npos ? '|' : ',';
  for (const std::string_view value : load::Split(given, separator)) {
    if (value.empty()) {
      return Wrong(fmt::format("--vary: '{}' has an empty value; leave it out",
                               text.substr(0, 60)));
    }
    variation.values.emplace_back(value);
  }
  if (variation.values.size() > kMostValues) {
    return Wrong(fmt::format("--vary: {} has {} values; at most {} are run",
                             key, variation.values.size(), kMostValues));
  }
  return variation;
}

Result<std::vector<SweepPoint>> MakeSweep(
    const std::vector<tools::Setting>& settings,
    const std::vector<Variation>& variations, bool overload) {
  double count = 1;
  for (const Variation& variation : variations)
    count *= static_cast<double>(variation.values.size());
  if (count > static_cast<double>(kMostPoints)) {
    return Wrong(fmt::format(
        "--vary: {:.0f} combinations; at most {} are run: vary less", count,
        kMostPoints));
  }
  std::vector<SweepPoint> points;
  std::vector<std::size_t> index(variations.size());
  // Costs are measured once, whatever is varied.
  std::optional<sim::Costs> measured;
  for (std::size_t n = 0; n < static_cast<std::size_t>(count); ++n) {
    std::size_t rest = n;
    for (std::size_t i = variations.size(); i-- > 0;) {
      index[i] = rest % variations[i].values.size();
      rest /= variations[i].values.size();
    }
    SweepPoint point;
    std::vector<tools::Setting> all = settings;
    for (std::size_t i = 0; i < variations.size(); ++i) {
      point.values.push_back(variations[i].values[index[i]]);
      all.push_back({variations[i].option, point.values.back(), "--vary"});
    }
    Result<tools::Config> config = tools::Build(all, tools::Use::kSimulate);
    if (!config) return tl::unexpected(config.error());
    Result<Scenario> scenario = MakeScenario(*config, measured);
    if (!scenario) {
      return Wrong(fmt::format("{} (at {})", scenario.error().message,
                               Describe(variations, point.values)));
    }
    point.scenario = std::move(*scenario);
    if (!overload) {
      if (const Result<void> stable = CheckStable(point.scenario); !stable)
        point.unstable = stable.error().message;
    }
    points.push_back(std::move(point));
  }
  return points;
}

}  // namespace yamanote::simulation
