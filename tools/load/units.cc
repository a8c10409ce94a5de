// units.cc - times, shares and rates as text.

#include "tools/load/units.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <optional>

namespace yamanote::load {
namespace {

// Long input is quoted in part: an error must stay readable.
std::string Quoted(std::string_view text) {
  constexpr size_t kShown = 40;
  if (text.size() <= kShown) return fmt::format("'{}'", text);
  return fmt::format("'{}...'", text.substr(0, kShown));
}

tl::unexpected<Error> Wrong(std::string_view field, std::string_view text,
                            std::string_view expected) {
  return MakeError(
      ErrorCode::kInvalidArgument,
      fmt::format("{} is {}; it must be {}", field, Quoted(text), expected));
}

// Reads a finite decimal number at the start of `text` and removes it.
std::optional<double> TakeNumber(std::string_view& text) {
  double value = 0;
  const auto [end, error] = std::from_chars(
      text.data(), text.data() + text.size(), value, std::chars_format::fixed);
  if (error != std::errc() || !std::isfinite(value)) return std::nullopt;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return value;
}

// Prints with at most three significant decimals and no trailing zeros.
std::string Short(double value) {
  std::string text = fmt::format("{:.3f}", value);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text;
}

}  // namespace

Result<Duration> ParseTime(std::string_view text, std::string_view field) {
  constexpr std::string_view kExpected =
      "a time from 0 to 4s with its unit ns, us, ms or s, for example 10us";
  std::string_view unit = text;
  const std::optional<double> value = TakeNumber(unit);
  double scale = 0;
  if (unit == "ns") scale = 1;
  if (unit == "us") scale = 1e3;
  if (unit == "ms") scale = 1e6;
  if (unit == "s") scale = 1e9;
  if (!value || scale == 0) return Wrong(field, text, kExpected);
  const double nanos = *value * scale;
  if (!(nanos >= 0 && nanos <= static_cast<double>(ToNanos(kLongestTime)))) {
    return Wrong(field, text, kExpected);
  }
  return Duration(std::llround(nanos));
}

Result<double> ParseShare(std::string_view text, std::string_view field) {
  constexpr std::string_view kExpected =
      "a share above 0% and up to 100%, for example 99.5%";
  std::string_view unit = text;
  const std::optional<double> value = TakeNumber(unit);
  if (!value || unit != "%" || !(*value > 0 && *value <= 100)) {
    return Wrong(field, text, kExpected);
  }
  return *value / 100;
}

Result<double> ParseRate(std::string_view text, std::string_view field) {
  constexpr std::string_view kExpected =
      "requests per second from 1 to 100M, for example 20000 or 20k";
  std::string_view unit = text;
  std::optional<double> value = TakeNumber(unit);
  if (!value) return Wrong(field, text, kExpected);
  if (unit == "k") {
    *value *= 1e3;
  } else if (unit == "M") {
    *value *= 1e6;
  } else if (!unit.empty()) {
    return Wrong(field, text, kExpected);
  }
  if (!(*value >= 1 && *value <= 1e8)) return Wrong(field, text, kExpected);
  return *value;
}

Result<double> ParseNumber(std::string_view text, std::string_view field,
                           double low, double high) {
  std::string_view rest = text;
  const std::optional<double> value = TakeNumber(rest);
  if (!value || !rest.empty() || !(*value >= low && *value <= high)) {
    return Wrong(
        field, text,
        fmt::format("a number from {} to {}", Short(low), Short(high)));
  }
  return *value;
}

std::string FormatTime(Duration duration) {
  const auto nanos = static_cast<double>(ToNanos(duration));
  if (nanos < 1e3) return Short(nanos) + "ns";
  if (nanos < 1e6) return Short(nanos / 1e3) + "us";
  if (nanos < 1e9) return Short(nanos / 1e6) + "ms";
  return Short(nanos / 1e9) + "s";
}

std::string FormatRate(double rps) {
  if (rps >= 1e6) return Short(rps / 1e6) + "M";
  if (rps >= 1e4) return fmt::format("{:.5g}k", rps / 1e3);
  return fmt::format("{:.0f}", rps);
}

std::vector<std::string_view> Split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (true) {
    const size_t at = text.find(separator);
    parts.push_back(text.substr(0, at));
    if (at == std::string_view::npos) return parts;
    text.remove_prefix(at + 1);
  }
}

}  // namespace yamanote::load
