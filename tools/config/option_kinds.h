// option_kinds.h - the kinds of entries that the table of options is made of.
//
// Each function returns an OptionSpec that reads, checks and prints one field
// of Config. The table adds what is alike for all: the section and the flag.
// `Access` names the field: [](auto& config) -> auto& { return config.kv.x; }.
//
// Only options.cc needs this; whoever uses the table includes options.h.

#pragma once

#include <fmt/format.h>

#include <array>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "tools/config/config.h"
#include "tools/config/options.h"
#include "tools/config/values.h"

namespace yamanote::tools {

// ---- what the templates below share -----------------------------------------

// Entries without `set` and `get`.
OptionSpec NumberSpec(std::string key, ValueKind kind, Range range,
                      std::string help);
OptionSpec ChoiceSpec(std::string key, std::vector<std::string> choices,
                      std::string help);

// Refuses what is outside `self.range`; the error names the nearest limit.
Result<uint64_t> ParseNumber(const OptionSpec& self, std::string_view text);
std::string FormatNumber(const OptionSpec& self, uint64_t value);

// Returns an index into `self.choices`; the error names the closest of them.
Result<size_t> ParseChoice(const OptionSpec& self, std::string_view text);

template <typename Field>
Field FromNumber(uint64_t value) {
  if constexpr (std::is_same_v<Field, Duration>) {
    return Duration(static_cast<int64_t>(value));
  } else {
    return static_cast<Field>(value);
  }
}

template <typename Field>
uint64_t ToNumber(const Field& field) {
  if constexpr (std::is_same_v<Field, Duration>) {
    return static_cast<uint64_t>(field.count());
  } else {
    return static_cast<uint64_t>(field);
  }
}

// ---- the kinds --------------------------------------------------------------

// A count, a size or a duration with limits.
template <auto Access>
OptionSpec Number(std::string key, ValueKind kind, Range range,
                  std::string help) {
  OptionSpec spec =
      NumberSpec(std::move(key), kind, std::move(range), std::move(help));
  spec.set = [](const OptionSpec& self, Config& config,
                std::string_view text) -> Result<void> {
    const Result<uint64_t> value = ParseNumber(self, text);
    if (!value) return tl::unexpected(value.error());
    auto& field = Access(config);
    field = FromNumber<std::remove_cvref_t<decltype(field)>>(*value);
    return {};
  };
  spec.get = [](const OptionSpec& self, const Config& config) {
    return FormatNumber(self, ToNumber(Access(config)));
  };
  return spec;
}

// A choice among the values of an enum; their names come from ToString().
template <auto Access, auto... Values>
OptionSpec EnumChoice(std::string key, std::string help) {
  OptionSpec spec = ChoiceSpec(
      std::move(key), {std::string(ToString(Values))...}, std::move(help));
  spec.set = [](const OptionSpec& self, Config& config,
                std::string_view text) -> Result<void> {
    constexpr std::array kValues{Values...};
    const Result<size_t> index = ParseChoice(self, text);
    if (!index) return tl::unexpected(index.error());
    Access(config) = kValues[*index];
    return {};
  };
  spec.get = [](const OptionSpec&, const Config& config) {
    return std::string(ToString(Access(config)));
  };
  return spec;
}

// A choice among names known at run time, kept as a string.
template <auto Access>
OptionSpec NameChoice(std::string key, std::vector<std::string> names,
                      std::string help) {
  OptionSpec spec =
      ChoiceSpec(std::move(key), std::move(names), std::move(help));
  spec.set = [](const OptionSpec& self, Config& config,
                std::string_view text) -> Result<void> {
    const Result<size_t> index = ParseChoice(self, text);
    if (!index) return tl::unexpected(index.error());
    Access(config) = text;
    return {};
  };
  spec.get = [](const OptionSpec&, const Config& config) {
    return Access(config);
  };
  return spec;
}

template <auto Access>
OptionSpec Switch(std::string key, std::string help) {
  OptionSpec spec =
      ChoiceSpec(std::move(key), {"true", "false"}, std::move(help));
  spec.kind = ValueKind::kBool;
  spec.set = [](const OptionSpec&, Config& config,
                std::string_view text) -> Result<void> {
    const Result<bool> value = ParseBool(text);
    if (!value) return tl::unexpected(value.error());
    Access(config) = *value;
    return {};
  };
  spec.get = [](const OptionSpec&, const Config& config) {
    return std::string(Access(config) ? "true" : "false");
  };
  return spec;
}

Result<double> ParseShare(const OptionSpec& self, std::string_view text);
OptionSpec ShareSpec(std::string key, double low, double high,
                     std::string help);

// A share of one, or of more if the limits allow it.
template <auto Access>
OptionSpec Share(std::string key, double low, double high, std::string help) {
  OptionSpec spec = ShareSpec(std::move(key), low, high, std::move(help));
  spec.set = [](const OptionSpec& self, Config& config,
                std::string_view text) -> Result<void> {
    const Result<double> value = ParseShare(self, text);
    if (!value) return tl::unexpected(value.error());
    Access(config) = *value;
    return {};
  };
  spec.get = [](const OptionSpec&, const Config& config) {
    return fmt::format("{}", Access(config));
  };
  return spec;
}

// What whoever uses it reads; `limits` says how it is written.
template <auto Access>
OptionSpec Text(std::string key, std::string limits, std::string help) {
  OptionSpec spec;
  spec.key = std::move(key);
  spec.kind = ValueKind::kText;
  spec.help = std::move(help);
  spec.limits = std::move(limits);
  spec.set = [](const OptionSpec&, Config& config,
                std::string_view text) -> Result<void> {
    Access(config) = text;
    return {};
  };
  spec.get = [](const OptionSpec&, const Config& config) {
    return Access(config);
  };
  return spec;
}

// The path of a file or directory, or nothing.
template <auto Access>
OptionSpec Path(std::string key, std::string help) {
  OptionSpec spec;
  spec.key = std::move(key);
  spec.kind = ValueKind::kPath;
  spec.help = std::move(help);
  spec.limits = "a path, or nothing";
  spec.set = [](const OptionSpec&, Config& config,
                std::string_view text) -> Result<void> {
    Access(config) = text;
    return {};
  };
  spec.get = [](const OptionSpec&, const Config& config) {
    return Access(config);
  };
  return spec;
}

OptionSpec CpuListSpec(std::string key, std::string help);

// CPUs in the order written; "auto" leaves the field empty.
template <auto Access>
OptionSpec CpuList(std::string key, std::string help) {
  OptionSpec spec = CpuListSpec(std::move(key), std::move(help));
  spec.set = [](const OptionSpec&, Config& config,
                std::string_view text) -> Result<void> {
    if (text == "auto") {
      Access(config).clear();
      return {};
    }
    Result<std::vector<int>> cpus = ParseCpuList(text);
    if (!cpus) return tl::unexpected(cpus.error());
    Access(config) = std::move(*cpus);
    return {};
  };
  spec.get = [](const OptionSpec&, const Config& config) {
    return Access(config).empty() ? "auto" : FormatCpuList(Access(config));
  };
  return spec;
}

// ---- the three that are unlike all others -----------------------------------

// Config::runtime.scheduling.slice, and slice_max, which a slice that adapts has
// and any other has not. Build() applies the key slice_max after it.
OptionSpec Slice(std::string key, Range range, std::string help);

// Config::server.listen; every address in it is checked.
OptionSpec Listen(std::string key, std::string help);

// Config::classes. A value adds to what earlier ones said; there is no `get`.
OptionSpec Classes(std::string key, std::string help);

}  // namespace yamanote::tools
