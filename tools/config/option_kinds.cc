// option_kinds.cc - how the entries of the table read, check and print a value.

#include "tools/config/option_kinds.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>

#include "yamanote/address.h"

namespace yamanote::tools {
namespace {

using namespace std::chrono_literals;

constexpr std::string_view kAdaptive = "adaptive";
constexpr uint64_t kMaxClassLimit = 16 * 1024 * 1024;

tl::unexpected<Error> Refuse(std::string message) {
  return MakeError(ErrorCode::kInvalidArgument, std::move(message));
}

Result<uint64_t> ParseQuantity(ValueKind kind, std::string_view text) {
  switch (kind) {
    case ValueKind::kDuration:
      return ParseDuration(text).map(ToNumber<Duration>);
    case ValueKind::kBytes:
      return ParseBytes(text);
    default:
      return ParseCount(text);
  }
}

std::string FormatQuantity(ValueKind kind, uint64_t value) {
  switch (kind) {
    case ValueKind::kDuration:
      return FormatDuration(FromNumber<Duration>(value));
    case ValueKind::kBytes:
      return FormatBytes(value);
    default:
      return fmt::format("{}", value);
  }
}

Result<void> SetSlice(const OptionSpec& self, Config& config,
                      std::string_view text) {
  Scheduling& scheduling = config.runtime.scheduling;
  if (text == kAdaptive) {
    scheduling.slice = kAdaptiveSlice;
    return {};
  }
  const Result<uint64_t> value = ParseNumber(self, text);
  if (!value) return tl::unexpected(value.error());
  scheduling.slice = FromNumber<Duration>(*value);
  return {};
}

std::string GetSlice(const OptionSpec& self, const Config& config) {
  return FormatNumber(self, ToNumber(config.runtime.scheduling.slice.least));
}

Result<void> SetListen(const OptionSpec&, Config& config,
                       std::string_view text) {
  for (std::string_view rest = text;;) {
    const size_t comma = rest.find(',');
    const Result<SocketAddress> address =
        SocketAddress::Parse(rest.substr(0, comma));
    if (!address) return tl::unexpected(address.error());
    if (comma == std::string_view::npos) break;
    rest.remove_prefix(comma + 1);
  }
  config.server.listen = text;
  return {};
}

std::string GetListen(const OptionSpec&, const Config& config) {
  return config.server.listen;
}

// One of the times that a class has; nullptr: `key` is none.
std::optional<Duration> ClassSetting::* TimeOfClass(std::string_view key) {
  if (key == "slo") return &ClassSetting::slo;
  if (key == "budget") return &ClassSetting::budget;
  if (key == "period") return &ClassSetting::period;
  return nullptr;
}

// Reads one part of a class, "slo=50us", "limit=1000" or "background".
Result<void> ParseClassPart(std::string_view part, ClassSetting& setting) {
  const std::string_view value = part.substr(part.find('=') + 1);
  const std::string_view key = part.substr(0, part.find('='));
  const auto time = TimeOfClass(key);
  if ((time != nullptr && setting.*time) || (key == "limit" && setting.limit) ||
      (key == "background" && setting.background)) {
    return Refuse(fmt::format("class {} has two values of {}; give it one",
                              setting.name, key));
  }
  if (time != nullptr && part != key) {
    const Result<Duration> read = ParseDuration(value);
    if (!read) return tl::unexpected(read.error());
    if (*read < 1us || *read > 1h) {
      return Refuse(
          fmt::format("{} {} is outside its limits 1us .. 1h", key, value));
    }
    setting.*time = *read;
    return {};
  }
  if (part.starts_with("limit=")) {
    const Result<uint64_t> limit = ParseCount(value);
    if (!limit) return tl::unexpected(limit.error());
    if (*limit < 1 || *limit > kMaxClassLimit) {
      return Refuse(fmt::format("limit {} is outside its limits 1 .. {}", value,
                                kMaxClassLimit));
    }
    setting.limit = static_cast<uint32_t>(*limit);
    return {};
  }
  if (key == "background") {
    if (part != "background" && value != "true" && value != "false") {
      return Refuse(
          fmt::format("background {} of class {} is neither true nor false",
                      value, setting.name));
    }
    setting.background = value != "false";
    return {};
  }
  return Refuse(
      fmt::format("\"{}\" of class {} is none of slo=, limit=, budget=, "
                  "period= and background",
                  part, setting.name));
}

}  // namespace

Result<ClassSetting> ParseClass(std::string_view text) {
  ClassSetting setting;
  const size_t colon = text.find(':');
  setting.name = text.substr(0, colon);
  std::string_view rest =
      colon == std::string_view::npos ? "" : text.substr(colon + 1);
  if (setting.name.empty() || rest.empty()) {
    return Refuse(fmt::format(
        "\"{}\" is not a class; write NAME:slo=50us,limit=1000", text));
  }
  while (!rest.empty()) {
    const std::string_view part = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(rest.size(), part.size() + 1));
    const Result<void> read = ParseClassPart(part, setting);
    if (!read) return tl::unexpected(read.error());
  }
  return setting;
}

namespace {

Result<void> SetClass(const OptionSpec&, Config& config,
                      std::string_view text) {
  Result<ClassSetting> setting = ParseClass(text);
  if (!setting) return tl::unexpected(setting.error());
  const auto same = std::find_if(
      config.classes.begin(), config.classes.end(),
      [&](const ClassSetting& other) { return other.name == setting->name; });
  if (same == config.classes.end()) {
    config.classes.push_back(std::move(*setting));
    return {};
  }
  if (setting->slo) same->slo = setting->slo;
  if (setting->limit) same->limit = setting->limit;
  if (setting->background) same->background = setting->background;
  if (setting->budget) same->budget = setting->budget;
  if (setting->period) same->period = setting->period;
  return {};
}

}  // namespace

ClassOptions WithSettings(ClassOptions known, const ClassSetting& setting) {
  known.slo = setting.slo.value_or(known.slo);
  known.limit = setting.limit.value_or(known.limit);
  known.background = setting.background.value_or(known.background);
  known.budget = setting.budget.value_or(known.budget);
  known.period = setting.period.value_or(known.period);
  return known;
}

std::string_view ToString(ValueKind kind) {
  switch (kind) {
    case ValueKind::kText:
      return "TEXT";
    case ValueKind::kAddress:
      return "ADDRESS";
    case ValueKind::kShare:
      return "SHARE";
    case ValueKind::kChoice:
      return "NAME";
    case ValueKind::kBool:
      return "BOOL";
    case ValueKind::kCount:
      return "COUNT";
    case ValueKind::kDuration:
      return "DURATION";
    case ValueKind::kBytes:
      return "BYTES";
    case ValueKind::kCpuList:
      return "LIST";
    case ValueKind::kClass:
      return "CLASS";
    case ValueKind::kPath:
      return "PATH";
  }
  return "VALUE";
}

OptionSpec NumberSpec(std::string key, ValueKind kind, Range range,
                      std::string help) {
  OptionSpec spec;
  spec.key = std::move(key);
  spec.kind = kind;
  spec.help = std::move(help);
  spec.limits = fmt::format("{} .. {}", FormatQuantity(kind, range.low),
                            FormatQuantity(kind, range.high));
  if (!range.word.empty()) spec.limits += fmt::format(" or {}", range.word);
  spec.range = std::move(range);
  return spec;
}

Result<uint64_t> ParseNumber(const OptionSpec& self, std::string_view text) {
  const Range& range = self.range;
  if (!range.word.empty() && text == range.word) return range.word_value;
  Result<uint64_t> value = ParseQuantity(self.kind, text);
  if (!value) return value;
  if (*value < range.low || *value > range.high) {
    const uint64_t nearest = *value < range.low ? range.low : range.high;
    return Refuse(fmt::format("\"{}\" is outside its limits {}; write {}", text,
                              self.limits, FormatQuantity(self.kind, nearest)));
  }
  return value;
}

std::string FormatNumber(const OptionSpec& self, uint64_t value) {
  const Range& range = self.range;
  if (!range.word.empty() && value == range.word_value) return range.word;
  return FormatQuantity(self.kind, value);
}

OptionSpec ChoiceSpec(std::string key, std::vector<std::string> choices,
                      std::string help) {
  OptionSpec spec;
  spec.key = std::move(key);
  spec.kind = ValueKind::kChoice;
  spec.help = std::move(help);
  spec.choices = std::move(choices);
  spec.limits = fmt::format("{}", fmt::join(spec.choices, ", "));
  return spec;
}

Result<size_t> ParseChoice(const OptionSpec& self, std::string_view text) {
  const auto found = std::find(self.choices.begin(), self.choices.end(), text);
  if (found != self.choices.end()) {
    return static_cast<size_t>(found - self.choices.begin());
  }
  const std::vector<std::string_view> names(self.choices.begin(),
                                            self.choices.end());
  const std::string_view close = ClosestName(text, names);
  return Refuse(fmt::format(
      "\"{}\" is none of {}{}", text, fmt::join(self.choices, ", "),
      close.empty() ? "" : fmt::format("; did you mean {}?", close)));
}

OptionSpec ShareSpec(std::string key, double low, double high,
                     std::string help) {
  OptionSpec spec;
  spec.key = std::move(key);
  spec.kind = ValueKind::kShare;
  spec.help = std::move(help);
  spec.low = low;
  spec.high = high;
  spec.limits = fmt::format("{} .. {}", low, high);
  return spec;
}

Result<double> ParseShare(const OptionSpec& self, std::string_view text) {
  double value = 0;
  const bool percent = text.ends_with('%');
  const std::string_view digits =
      percent ? text.substr(0, text.size() - 1) : text;
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc() || end != digits.data() + digits.size()) {
    return Refuse(fmt::format(
        "\"{}\" is not a share; write one such as 0.7 or 70%", text));
  }
  if (percent) value /= 100;
  if (!(value >= self.low && value <= self.high)) {
    return Refuse(
        fmt::format("\"{}\" is outside its limits {}", text, self.limits));
  }
  return value;
}

OptionSpec Slice(std::string key, Range range, std::string help) {
  OptionSpec spec = NumberSpec(std::move(key), ValueKind::kDuration,
                               std::move(range), std::move(help));
  spec.limits += fmt::format(" or {}", kAdaptive);
  spec.set = SetSlice;
  spec.get = GetSlice;
  return spec;
}

OptionSpec CpuListSpec(std::string key, std::string help) {
  OptionSpec spec;
  spec.key = std::move(key);
  spec.kind = ValueKind::kCpuList;
  spec.help = std::move(help);
  spec.limits = "CPU numbers, or auto";
  return spec;
}

OptionSpec Listen(std::string key, std::string help) {
  OptionSpec spec;
  spec.key = std::move(key);
  spec.kind = ValueKind::kAddress;
  spec.help = std::move(help);
  spec.limits = "ADDR:PORT, [ADDR]:PORT for IPv6";
  spec.set = SetListen;
  spec.get = GetListen;
  return spec;
}

OptionSpec Classes(std::string key, std::string help) {
  OptionSpec spec;
  spec.key = std::move(key);
  spec.kind = ValueKind::kClass;
  spec.help = std::move(help);
  spec.limits = fmt::format(
      "slo 1us .. 1h, limit 1 .. {}, budget 1us .. period, period 1us .. 1h, "
      "background",
      kMaxClassLimit);
  spec.set = SetClass;
  return spec;
}

}  // namespace yamanote::tools
