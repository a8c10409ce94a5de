// congestion.cc - another core when a task has waited for a whole interval.
//
// At each interval the number of tasks that have left a queue is compared with the number
// that had joined it an interval ago: if it is lower, one of those waits still. No clock
// is read for a task. A worker that finds nothing for a while gives its core back.
//
// Use it for services whose load comes in bursts. Not for tasks shorter than the
// interval at low load: a core that parks between two of them is granted again and
// again.
//
// Source: Ousterhout et al., "Shenango: Achieving High CPU Efficiency for
// Latency-sensitive Datacenter Workloads", NSDI 2019, section 4.1 (congestion detection,
// a worker that was just woken is left out).

#include <vector>

#include "yamanote/core_policy.h"

namespace yamanote {
namespace {

class Congestion final : public CorePolicy {
 public:
  explicit Congestion(const CorePolicyOptions& options)
      : before_(options.cores) {}

  Wish Decide(const AppSample& sample) override {
    bool congested = Stranded(sample);
    for (const CoreSample& core : sample.cores) {
      uint32_t& before = before_[core.core];
      // A difference, since both wrap.
      const auto left_since = static_cast<int32_t>(core.taken - before);
      if (left_since < 0 && !core.fresh) congested = true;
      before = core.enqueued;
    }
    return congested ? Wish::kMore : Wish::kSame;
  }

 private:
  std::vector<uint32_t>
      before_;  // CoreSample::enqueued, by core, as last seen.
};

}  // namespace

extern constexpr CorePolicyInfo kCongestion = {
    .name = "congestion",
    .summary = "another core when a task has waited for a whole interval",
    .good_at = "bursts, several services on one machine",
    .bad_at = "tasks of 1 us: more grants than tasks",
    .source = "Ousterhout et al., Shenango, 2019",
    .make =
        [](const CorePolicyOptions& options) -> std::unique_ptr<CorePolicy> {
      return std::make_unique<Congestion>(options);
    },
};

}  // namespace yamanote
