// result.h - what a measurement found: the schema "yamanote.load/1".
//
// docs/load-json.md describes the JSON; these structs are it, field by field.
// A figure that lost requests reach is +infinity (JSON "inf"); one for which
// there is no sample is NaN (JSON null).

#pragma once

#include <cstdint>
#include <limits>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/histogram.h"
#include "yamanote/result.h"

namespace yamanote::load {

inline constexpr std::string_view kSchema = "yamanote.load/1";
inline constexpr double kNoFigure = std::numeric_limits<double>::quiet_NaN();

// Quantiles of one quantity. The mean and the maximum are those of the answered
// requests; the quantiles count unanswered ones as +infinity.
struct Figures {
  uint64_t samples = 0;
  double p50 = kNoFigure;
  double p90 = kNoFigure;
  double p99 = kNoFigure;
  double p999 = kNoFigure;
  double max = kNoFigure;
  double mean = kNoFigure;
};

// Reads the figures of `histogram`, divided by `unit`.
Figures ReadFigures(const base::Histogram& histogram, double unit);

struct ClassResult {
  std::string name;             // "5us", "get", "mget500", "all".
  double share = 0;             // Of all requests, as configured: 0..1.
  double floor_us = kNoFigure;  // Unloaded latency (median), where measured.
  uint64_t sent = 0;
  uint64_t answered = 0;
  uint64_t lost = 0;
  uint64_t refused = 0;
  Figures latency_us{};
  Figures slowdown{};
  // Without the samples that a gap of the generator's core touched.
  Figures latency_us_undisturbed{};
  Figures slowdown_undisturbed{};
};

// Times at which the generator itself did not run.
struct GapResult {
  double threshold_us = 0;
  uint64_t count = 0;
  double total_us = 0;
  double max_us = 0;
  uint64_t tagged = 0;  // Samples whose lifetime overlaps a gap.
};

// One seed of a point.
struct RunResult {
  uint64_t seed = 0;
  double achieved_rps = 0;
  bool valid = true;
  std::string why_invalid{};
  uint64_t sent = 0;
  uint64_t late = 0;
  uint64_t lost = 0;
  uint64_t refused = 0;
  Figures latency_us{};
  Figures slowdown{};
};

struct PointResult {
  double offered_rps = 0;
  double achieved_rps = 0;  // Answered requests of the window per second of it.
  bool valid = true;
  std::string why_invalid{};
  bool valid_undisturbed = true;  // The same test on the untagged samples only.
  // Why the runs' median says little, "" if it says enough; for medians only.
  // Older results lack it.
  std::optional<std::string> unsettled{};
  uint64_t sent = 0;
  uint64_t answered = 0;
  uint64_t late = 0;  // Sent late by more than the p99 from the actual send.
  double late_max_us = 0;
  // 0 to 1, of the busiest thread (driver.h); older results lack it.
  std::optional<double> generator_busy{};
  uint64_t lost = 0;        // Unanswered; +infinity in the quantiles.
  uint64_t refused = 0;     // Answered by a refusal; +infinity as well.
  uint64_t duplicates = 0;  // Second answers, ignored.
  uint64_t unmatched = 0;   // Bytes or datagrams that answer nothing we sent.
  uint64_t misses = 0;      // kv: keys asked for that the server did not have.
  uint64_t closed_connections = 0;  // By the server, during the run.
  std::vector<uint64_t> seeds;
  Figures latency_us{};
  Figures slowdown{};
  Figures latency_us_undisturbed{};
  Figures slowdown_undisturbed{};
  std::vector<ClassResult> classes{};
  GapResult gaps{};
  std::vector<RunResult> runs{};  // One for each seed: their spread.
};

struct SearchStep {
  double rps = 0;
  bool met = false;
  double value = kNoFigure;  // Of the quantity that the objective limits.
  std::string why{};         // Not empty if it was refused for another reason.
};

struct SearchResult {
  std::string objective;
  double low_rps = 0;
  double high_rps = 0;
  double best_rps = 0;  // Highest load seen to meet the objective; 0: none did.
  std::vector<SearchStep> steps{};
};

struct LoadResult {
  std::string version;
  std::string started;  // UTC, ISO 8601.
  std::string label;    // Names the curve: a scheduler, a server. May be empty.
  std::string target;
  std::string application;  // "spin", "kv" or "rocksdb".
  std::string protocol;     // "tcp" or "udp".
  std::string service;
  std::string arrivals;
  uint64_t connections = 0;
  uint64_t threads = 0;
  double duration_s = 0;
  double warmup_s = 0;
  // How runs became points: "sum" or "median"; older results lack it: "sum".
  std::optional<std::string> combining{};
  std::vector<PointResult> points{};
  std::optional<SearchResult> search{};
};

nlohmann::ordered_json ToJson(const LoadResult& result);

// Reads what ToJson wrote. kInvalidArgument names the field, what was found and
// what is expected. Unknown fields are ignored: later versions add some.
Result<LoadResult> FromJson(const nlohmann::json& json);

// Reads `text` as JSON and then as above.
Result<LoadResult> ParseLoadResult(std::string_view text);

}  // namespace yamanote::load
