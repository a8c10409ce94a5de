// search.h - finds the highest load that meets an objective.
//
// Bisects the offered load between two bounds. Measured latency is noisy, so an
// invalid step (the generator was disturbed) is measured again up to twice; what
// stays invalid does not meet the objective, and says why. The load returned was
// itself measured to meet it.

#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "tools/load/result.h"
#include "tools/load/workload.h"
#include "yamanote/result.h"

namespace yamanote::load {

// Which samples are judged.
enum class Samples : uint8_t { kAll, kUndisturbed };

// "p99-slowdown<=10", "get:p99.9-latency<=300us": a limit on one figure.
struct Limit {
  enum class Quantity : uint8_t { kLatency, kSlowdown };

  std::string request_class{};  // Empty: all requests.
  std::string quantile = "p99";
  Quantity quantity = Quantity::kSlowdown;
  double limit = 0;  // Latency: in us.

  // Returns the figure that is limited; NaN if the point has none.
  double ValueIn(const PointResult& point, Samples samples) const;
};

struct Objective {
  std::string text{};
  std::vector<Limit> limits{};  // All must hold.
  Samples samples = Samples::kAll;

  // Limits separated by commas. Errors name the part and the remedy. The class
  // names are checked against `workload`.
  static Result<Objective> Parse(std::string_view text,
                                 const Workload& workload);
};

struct SearchOptions {
  Objective objective{};
  double low_rps = 0;
  double high_rps = 0;
  double precision = 0.05;  // Ends when the bounds are this close, relatively.
};

struct SearchOutcome {
  SearchResult search{};
  std::vector<PointResult> points{};  // By rising load; one for each step.
};

using MeasureAt = std::function<Result<PointResult>(double rate_rps)>;
using OnStep = std::function<void(const SearchStep&)>;

// Searches with at most 40 measurements. Ends early after a step in which
// `stopped` returned true.
Result<SearchOutcome> Search(const SearchOptions& options,
                             const MeasureAt& measure, const OnStep& on_step,
                             const std::function<bool()>& stopped);

}  // namespace yamanote::load
