// delay.cc - another core when the oldest task of a queue has waited for too long.
//
// As congestion, but in time instead of intervals: how often the arbiter looks no longer
// decides what counts as congested. Costs the application a look at the clock for each
// task.
//
// Use it where an objective is known: delay = what a request may wait. Not where tasks
// are shorter than the clock is dear.
//
// Source: Fried et al., "Caladan: Mitigating Interference at Microsecond Timescales",
// OSDI 2020, section 5 (queueing delay above a threshold, for each kernel thread).

#include <algorithm>

#include "yamanote/core_policy.h"

namespace yamanote {
namespace {

class Delay final : public CorePolicy {
 public:
  explicit Delay(const CorePolicyOptions& options) : delay_(options.delay) {}

  Wish Decide(const AppSample& sample) override {
    const bool late =
        std::ranges::any_of(sample.cores, [this](const CoreSample& core) {
          return core.oldest >= delay_ && !core.fresh;
        });
    return late || Stranded(sample) ? Wish::kMore : Wish::kSame;
  }

 private:
  const Duration delay_;
};

}  // namespace

extern constexpr CorePolicyInfo kDelay = {
    .name = "delay",
    .summary = "another core when a task has waited for longer than `delay`",
    .good_at = "a known objective for waiting",
    .bad_at = "tasks of 1 us: each is timed",
    .source = "Fried et al., Caladan, 2020",
    .reads_oldest = true,
    .make =
        [](const CorePolicyOptions& options) -> std::unique_ptr<CorePolicy> {
      return std::make_unique<Delay>(options);
    },
};

}  // namespace yamanote
