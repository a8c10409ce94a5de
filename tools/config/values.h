// values.h - the words in which configuration values are written.
//
//   duration   5us, 1.5ms, 30s           ns us ms s min h; the unit is needed
//   bytes      512B, 64KiB, 1.5GiB, 2MB  B kB MB GB KiB MiB GiB; needed as well
//   count      4096, 64Ki, 1M            k M G (1000s), Ki Mi Gi (1024s)
//   cpu list   0-3,6                     as in /proc and taskset
//
// A number without unit is refused where a unit is due, because a guess between
// 5 ns and 5 ms is wrong by six orders of magnitude. Every Format result parses
// back to the same value. No function here throws; all are pure.

#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "yamanote/result.h"
#include "yamanote/scheduling.h"
#include "yamanote/time.h"

namespace yamanote::tools {

// kInvalidArgument says what is wrong with `text` and shows an example. The
// result is 0 or more; fractions of a nanosecond or byte are rounded.
Result<Duration> ParseDuration(std::string_view text);
Result<uint64_t> ParseBytes(std::string_view text);
Result<uint64_t> ParseCount(std::string_view text);
Result<bool> ParseBool(std::string_view text);

// CPUs in the order written. Refuses an empty list, a CPU twice, a descending
// range and numbers above kMaxCpu.
inline constexpr int kMaxCpu = 8191;
Result<std::vector<int>> ParseCpuList(std::string_view text);

// The largest unit that needs no fraction: "1500us", "2ms", "64KiB".
std::string FormatDuration(Duration duration);
// "none", "20us" or "2us to 100us" (which no Parse function takes).
std::string FormatSlice(const SliceRange& slice);
std::string FormatBytes(uint64_t bytes);
std::string FormatCpuList(std::span<const int> cpus);

// Returns the name in `names` closest to `word` by edit distance, empty if none
// is close enough to be what a typing mistake meant.
std::string_view ClosestName(std::string_view word,
                             std::span<const std::string_view> names);

}  // namespace yamanote::tools
