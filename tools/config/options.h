// options.h - the table of options: an entry is a file key, a flag and help.
//
// To add one: a field in config.h and an entry in options.cc. If no kind of
// entry fits, one more in option_kinds.h.

#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tools/config/config.h"

namespace yamanote::tools {

// How a value is written, in the file and after the flag.
enum class ValueKind : uint8_t {
  kText,
  kAddress,
  kChoice,  // One of `choices`.
  kBool,
  kShare,     // 0.7, "70%".
  kCount,     // A number, in TOML an integer or a string: 4096, "64Ki".
  kDuration,  // A string with a unit.
  kBytes,     // A string with a unit.
  kCpuList,   // A string like "0-3,6", or an array of integers.
  kClass,     // NAME:slo=50us,limit=1000,...; in TOML a table of its own.
  kPath,      // Of a file or directory; empty is a value.
};

// "DURATION", "COUNT", ...: what help shows after the flag.
std::string_view ToString(ValueKind kind);

// Limits of kCount, kBytes and kDuration (in nanoseconds), both included.
struct Range {
  uint64_t low = 0;
  uint64_t high = UINT64_MAX;
  // A word ("none") that stands for a value outside the limits, if not empty.
  std::string word = {};
  uint64_t word_value = 0;
};

struct OptionSpec {
  std::string section;  // TOML table: "scheduling".
  std::string key;      // In it: "idle_timeout".
  std::string flag;     // "--idle-timeout".
  ValueKind kind = ValueKind::kText;
  std::string help;                  // One line, ends without a full stop.
  std::string limits;                // "1 .. 16"; empty if there are none.
  std::vector<std::string> choices;  // kChoice and kBool only.
  Range range;                       // kCount, kBytes and kDuration only.
  double low = 0;                    // kShare only: the limits.
  double high = 1;

  // Sets the value; the error says what is wrong with `text`, not where.
  Result<void> (*set)(const OptionSpec& self, Config& config,
                      std::string_view text) = nullptr;
  // The value as `set` reads it; empty if there is nothing to print.
  std::string (*get)(const OptionSpec& self, const Config& config) = nullptr;

  std::string Name() const { return section + "." + key; }
};

// Every option, section by section, in the order of --print-config.
std::span<const OptionSpec> Options();

// Sections in order, each with the line that explains it.
struct SectionInfo {
  std::string_view name;
  std::string_view help;
};
std::span<const SectionInfo> Sections();

// True for the sections that belong to one service: "kv", "rocksdb", "spin".
bool IsService(std::string_view section);
// True for those that only simulations have: "sim", "arbiter", "costs"; but yamanoted has
// the keys of "arbiter", too.
bool IsSimulation(std::string_view section);
// True for the one that only yamanoted has: "daemon".
bool IsDaemon(std::string_view section);

const OptionSpec* FindOption(std::string_view section, std::string_view key);

}  // namespace yamanote::tools
