// trace.h - requests as they came, from a file.
//
// CSV with a header, or one JSON object on each line. Fields, in any order:
//
//   at_ns or at_us            when it came, not before the one above
//   service_ns or service_us  what it took, > 0
//   class                     its class's name; without one, all are of one class
//   connection                a number or a name; without one, each has its own
//
// A file that `yamanote load --record` wrote is read, too: intended_ns is then when a
// request came, those of the first seed count, and of a key-value store, whose requests
// do not say what they take, none.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "yamanote/result.h"

namespace yamanote::simulation {

inline constexpr uint64_t kNoConnection = UINT64_MAX;
// Each takes 32 bytes.
inline constexpr uint64_t kMostTraced = 200'000'000;

struct TracedRequest {
  int64_t at_ns = 0;
  int64_t service_ns = 0;
  uint64_t connection = kNoConnection;
  uint16_t request_class = 0;
};

struct Trace {
  std::vector<TracedRequest> requests;  // In the order of time, the first at 0.
  std::vector<std::string> classes;     // Their names; at least one.
};

// Errors name the file, the line, what is wrong and the remedy. Never crashes, whatever
// the text.
Result<Trace> ParseTrace(std::string_view text, std::string_view name);
Result<Trace> ReadTrace(const std::string& path);

}  // namespace yamanote::simulation
