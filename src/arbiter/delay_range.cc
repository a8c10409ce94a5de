// delay_range.cc - keeps the mean queueing delay between two limits.
//
// The delay is the mean over the cores held of how long the oldest task there has waited.
// From delay_high on another core is wanted; up to delay_low one that has nothing to run
// may go; in between cores without work go on looking for it, so that a short lull does
// not cost a grant.
//
// Use it for tasks of a few microseconds and loads that change slower than that. Not
// where idle cores must be free at once: they look on until the delay is low.
//
// Source: McClure et al., "Efficient Scheduling Policies for Microsecond-Scale Tasks",
// NSDI 2022 (delay range, 1 to 4 us: with utilization range the most efficient).

#include "yamanote/core_policy.h"

namespace yamanote {
namespace {

class DelayRange final : public CorePolicy {
 public:
  explicit DelayRange(const CorePolicyOptions& options)
      : low_(options.delay_low), high_(options.delay_high) {}

  Wish Decide(const AppSample& sample) override {
    if (sample.held == 0) return Stranded(sample) ? Wish::kMore : Wish::kSame;
    Duration sum{0};
    for (const CoreSample& core : sample.cores) sum += core.oldest;
    const Duration mean = sum / static_cast<int64_t>(sample.held);
    if (mean >= high_) return Wish::kMore;
    return mean <= low_ ? Wish::kFewer : Wish::kSame;
  }

 private:
  const Duration low_;
  const Duration high_;
};

}  // namespace

extern constexpr CorePolicyInfo kDelayRange = {
    .name = "delay-range",
    .summary = "keeps the mean queueing delay between two limits",
    .good_at = "tasks of some microseconds, steady load",
    .bad_at = "bursts far apart: idle cores go one at a time",
    .source = "McClure et al., Efficient Scheduling Policies, 2022",
    .parks = false,
    .reads_oldest = true,
    .make =
        [](const CorePolicyOptions& options) -> std::unique_ptr<CorePolicy> {
      return std::make_unique<DelayRange>(options);
    },
};

}  // namespace yamanote
