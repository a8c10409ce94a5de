// combine.h - makes the runs of one load one point.

#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "tools/load/account.h"
#include "tools/load/result.h"

namespace yamanote::load {

enum class Combining : uint8_t {
  // The samples of all runs together: rare requests count most precisely.
  kSum,
  // Of each figure the median over the runs. A machine that takes a core away
  // for milliseconds, now and then, spoils single runs; short ones then differ
  // less by this than by their sum.
  kMedian,
};

// "sum", "median".
const char* ToString(Combining combining);

// One seed's run of a load.
struct Run {
  Account account;
  RunResult result;
};

// A run as if it were alone.
struct SingleRun {
  PointResult point;
  bool server_failed = false;
};

// The runs of one load so far. Counts of requests and samples are sums over all
// runs in any case: no median may hide a loss. By medians, runs whose requests
// the generator sent late do not count, and at least half must be valid, else
// the point is not. A server that failed in one run fails it, too. Where the runs
// fall into two kinds, as when the machine stalled in about half of them, a point
// is unsettled: chance decides of which kind the median is. Not thread-safe.
class Combination {
 public:
  Combination(double offered_rps, Combining combining)
      : offered_rps_(offered_rps), combining_(combining) {}

  // `run` is of the same workload as those before.
  void Add(const Run& run);

  size_t runs() const { return runs_.size(); }

  // Requires: there is a run.
  PointResult ToPoint() const;

 private:
  double offered_rps_;
  Combining combining_;
  std::optional<Account> sum_{};
  std::vector<RunResult> runs_{};
  std::vector<SingleRun> singles_{};  // By medians.
};

}  // namespace yamanote::load
