// values.cc - parses and prints durations, sizes, counts and CPU lists.

#include "tools/config/values.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>

namespace yamanote::tools {
namespace {

struct Unit {
  std::string_view name;
  uint64_t factor;
};

constexpr Unit kTimeUnits[] = {{"ns", 1},
                               {"us", 1'000},
                               {"ms", 1'000'000},
                               {"s", 1'000'000'000},
                               {"min", 60'000'000'000},
                               {"h", 3'600'000'000'000}};
constexpr Unit kByteUnits[] = {{"B", 1},          {"kB", 1'000},
                               {"KiB", 1u << 10}, {"MB", 1'000'000},
                               {"MiB", 1u << 20}, {"GB", 1'000'000'000},
                               {"GiB", 1u << 30}};
constexpr Unit kCountUnits[] = {
    {"", 1},          {"k", 1'000},         {"Ki", 1u << 10}, {"M", 1'000'000},
    {"Mi", 1u << 20}, {"G", 1'000'000'000}, {"Gi", 1u << 30}};

std::string Names(std::span<const Unit> units) {
  std::string names;
  for (const Unit& unit : units) {
    if (unit.name.empty()) continue;
    if (!names.empty()) names += ", ";
    names += unit.name;
  }
  return names;
}

tl::unexpected<Error> Refuse(std::string_view text, std::string_view why) {
  return MakeError(ErrorCode::kInvalidArgument,
                   fmt::format("\"{}\" {}", text, why));
}

// Splits "1.5ms" into its number and its unit's factor, and multiplies them.
// `what` is "a duration", `example` what a good value looks like.
Result<uint64_t> ParseQuantity(std::string_view text,
                               std::span<const Unit> units,
                               std::string_view what,
                               std::string_view example) {
  const char* const end = text.data() + text.size();
  double number = 0;
  // A general or hexadecimal form ("1e3", "inf") is nobody's configuration.
  const auto [rest, error] =
      std::from_chars(text.data(), end, number, std::chars_format::fixed);
  if (error != std::errc{} || !std::isfinite(number)) {
    return Refuse(
        text, fmt::format("is not {}; write a number and a unit, such as {}",
                          what, example));
  }
  if (std::signbit(number)) {
    return Refuse(text, fmt::format("is negative; {} is 0 or more, such as {}",
                                    what, example));
  }
  std::string_view unit_name(rest, static_cast<size_t>(end - rest));
  while (unit_name.starts_with(' ')) unit_name.remove_prefix(1);
  const auto unit =
      std::find_if(units.begin(), units.end(),
                   [&](const Unit& u) { return u.name == unit_name; });
  if (unit == units.end()) {
    if (unit_name.empty()) {
      return Refuse(text,
                    fmt::format("has no unit; write one of {}, such as {}",
                                Names(units), example));
    }
    return Refuse(text,
                  fmt::format("has the unknown unit \"{}\"; the units are {}",
                              unit_name, Names(units)));
  }
  // Whole numbers are exact; only true fractions go through a double.
  uint64_t whole = 0;
  const auto [whole_end, whole_error] =
      std::from_chars(text.data(), end, whole);
  constexpr auto kLimit = static_cast<uint64_t>(INT64_MAX);
  if (whole_error == std::errc{} && whole_end == rest) {
    if (whole > kLimit / unit->factor)
      return Refuse(text, "is too large to count");
    return whole * unit->factor;
  }
  const double product = std::round(number * static_cast<double>(unit->factor));
  if (product >= static_cast<double>(kLimit))
    return Refuse(text, "is too large to count");
  return static_cast<uint64_t>(product);
}

std::string FormatQuantity(uint64_t value, std::span<const Unit> units) {
  if (value == 0) return fmt::format("0{}", units.front().name);
  const Unit* best = &units.front();
  for (const Unit& unit : units) {
    if (value % unit.factor == 0 && unit.factor > best->factor) best = &unit;
  }
  return fmt::format("{}{}", value / best->factor, best->name);
}

// Reads a CPU number at the start of `text` and removes it.
Result<int> TakeCpu(std::string_view& text, std::string_view whole) {
  int cpu = -1;
  const auto [rest, error] =
      std::from_chars(text.data(), text.data() + text.size(), cpu);
  if (error != std::errc{} || cpu < 0 || cpu > kMaxCpu) {
    return Refuse(
        whole, fmt::format("is not a list of CPUs 0 .. {}; write it like 0-3,6",
                           kMaxCpu));
  }
  text.remove_prefix(static_cast<size_t>(rest - text.data()));
  return cpu;
}

}  // namespace

Result<Duration> ParseDuration(std::string_view text) {
  return ParseQuantity(text, kTimeUnits, "a duration", "5us or 1.5ms")
      .map(
          [](uint64_t nanos) { return Duration(static_cast<int64_t>(nanos)); });
}

Result<uint64_t> ParseBytes(std::string_view text) {
  return ParseQuantity(text, kByteUnits, "a size", "64KiB or 512B");
}

Result<uint64_t> ParseCount(std::string_view text) {
  return ParseQuantity(text, kCountUnits, "a count", "4096 or 64Ki");
}

Result<bool> ParseBool(std::string_view text) {
  if (text == "true") return true;
  if (text == "false") return false;
  return Refuse(text, "is neither true nor false");
}

Result<std::vector<int>> ParseCpuList(std::string_view text) {
  const std::string_view whole = text;
  std::vector<int> cpus;
  for (bool more = true; more;) {
    const Result<int> first = TakeCpu(text, whole);
    if (!first) return tl::unexpected(first.error());
    int last = *first;
    if (text.starts_with('-')) {
      text.remove_prefix(1);
      const Result<int> end = TakeCpu(text, whole);
      if (!end) return tl::unexpected(end.error());
      last = *end;
      if (last < *first) {
        return Refuse(whole,
                      fmt::format("has the descending range {}-{}; write {}-{}",
                                  *first, last, last, *first));
      }
    }
    for (int cpu = *first; cpu <= last; ++cpu) {
      if (std::find(cpus.begin(), cpus.end(), cpu) != cpus.end()) {
        return Refuse(
            whole,
            fmt::format("names CPU {} twice; each CPU runs one worker", cpu));
      }
      cpus.push_back(cpu);
    }
    more = text.starts_with(',');
    if (more) text.remove_prefix(1);
  }
  if (!text.empty()) {
    return Refuse(
        whole,
        fmt::format("has \"{}\" after the list; write it like 0-3,6", text));
  }
  return cpus;
}

std::string FormatDuration(Duration duration) {
  return FormatQuantity(static_cast<uint64_t>(duration.count()), kTimeUnits);
}

std::string FormatBytes(uint64_t bytes) {
  return FormatQuantity(bytes, kByteUnits);
}

std::string FormatCpuList(std::span<const int> cpus) {
  std::string text;
  for (size_t i = 0; i < cpus.size();) {
    size_t last = i;
    while (last + 1 < cpus.size() && cpus[last + 1] == cpus[last] + 1) ++last;
    if (!text.empty()) text += ',';
    text += last == i ? fmt::format("{}", cpus[i])
                      : fmt::format("{}-{}", cpus[i], cpus[last]);
    i = last + 1;
  }
  return text;
}

std::string_view ClosestName(std::string_view word,
                             std::span<const std::string_view> names) {
  std::string_view best;
  // A third of the letters wrong, or two: "drian_timout" is drain_timeout.
  size_t best_distance = std::max<size_t>(2, word.size() / 3) + 1;
  for (const std::string_view name : names) {
    // Levenshtein's distance, one row at a time.
    std::vector<size_t> row(name.size() + 1);
    std::iota(row.begin(), row.end(), size_t{0});
    for (size_t i = 0; i < word.size(); ++i) {
      size_t diagonal = row[0];
      row[0] = i + 1;
      for (size_t j = 0; j < name.size(); ++j) {
        const size_t replace = diagonal + (word[i] == name[j] ? 0 : 1);
        diagonal = row[j + 1];
        row[j + 1] = std::min({replace, row[j] + 1, row[j + 1] + 1});
      }
    }
    if (row.back() < best_distance) {
      best_distance = row.back();
      best = name;
    }
  }
  return best;
}

std::string FormatSlice(const SliceRange& slice) {
  if (slice.least == kNoPreemption) return "none";
  const std::string least = FormatDuration(slice.least);
  return slice.Adapts() ? least + " to " + FormatDuration(slice.most) : least;
}

}  // namespace yamanote::tools
