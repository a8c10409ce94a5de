// utilization_range.cc - keeps the share of the cores' time that runs tasks between two
// limits.
//
// From utilization_high on another core is wanted; below utilization_low one that has
// nothing to run may go.
//
// Use it where requests are short against the interval and their number is what changes.
// Not where a long task waits for nobody: one that fills its core looks like a need.
//
// Source: McClure et al., "Efficient Scheduling Policies for Microsecond-Scale Tasks",
// NSDI 2022 (utilization range, 75 to 95%).

#include <algorithm>
#include <utility>
#include <vector>

#include "yamanote/core_policy.h"

namespace yamanote {
namespace {

class UtilizationRange final : public CorePolicy {
 public:
  explicit UtilizationRange(const CorePolicyOptions& options)
      : low_(options.utilization_low),
        high_(options.utilization_high),
        idle_(options.cores) {}

  Wish Decide(const AppSample& sample) override {
    Duration unused{0};
    for (const CoreSample& core : sample.cores) {
      // At most the interval: of one seen for the first time it is all there ever was.
      unused += std::min(core.idle - std::exchange(idle_[core.core], core.idle),
                         sample.elapsed);
    }
    const unsigned before = std::exchange(held_, sample.held);
    if (sample.held == 0) return Stranded(sample) ? Wish::kMore : Wish::kSame;
    // Cores that came or went in between had a part of it: about right, for once.
    const double time = static_cast<double>(sample.elapsed.count()) *
                        std::max(sample.held, before);
    const double used = 1 - static_cast<double>(unused.count()) / time;
    if (used >= high_) return Wish::kMore;
    return used < low_ ? Wish::kFewer : Wish::kSame;
  }

 private:
  const double low_;
  const double high_;
  std::vector<Duration> idle_;  // CoreSample::idle, by core, as last seen.
  unsigned held_ = 0;
};

}  // namespace

extern constexpr CorePolicyInfo kUtilizationRange = {
    .name = "utilization-range",
    .summary = "keeps the share of time that runs tasks between two limits",
    .good_at = "many short tasks, steady load",
    .bad_at = "long tasks: one that fills its core asks for another",
    .source = "McClure et al., Efficient Scheduling Policies, 2022",
    .parks = false,
    .make =
        [](const CorePolicyOptions& options) -> std::unique_ptr<CorePolicy> {
      return std::make_unique<UtilizationRange>(options);
    },
};

}  // namespace yamanote
