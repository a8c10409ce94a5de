// units.h - reads and prints times, shares and rates as people write them.
//
// Every parser names `field` in its error, together with the value, what is
// accepted and an example, and accepts no trailing text.

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "yamanote/result.h"
#include "yamanote/time.h"

namespace yamanote::load {

// The longest service time, latency limit or interval accepted.
inline constexpr Duration kLongestTime = std::chrono::seconds(4);

// "500ns", "10us", "0.5ms", "1s": 0 to kLongestTime, rounded to nanoseconds.
Result<Duration> ParseTime(std::string_view text, std::string_view field);

// "99.5%": returns 0..1.
Result<double> ParseShare(std::string_view text, std::string_view field);

// "12000", "12k", "1.5M": requests per second, 1 to 100 M.
Result<double> ParseRate(std::string_view text, std::string_view field);

// A plain decimal number from `low` to `high`.
Result<double> ParseNumber(std::string_view text, std::string_view field,
                           double low, double high);

// "10us", "500ns", "1.5ms": the unit that keeps the number short.
std::string FormatTime(Duration duration);

// "12k", "1.25M", "950".
std::string FormatRate(double rps);

// Cuts at each `separator`; keeps empty parts.
std::vector<std::string_view> Split(std::string_view text, char separator);

}  // namespace yamanote::load
