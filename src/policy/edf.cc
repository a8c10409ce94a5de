// edf.cc - earliest deadline first.
//
// The task whose deadline is nearest runs first; equal deadlines in the order
// they came. A task without a deadline is due one objective (`slo`) of its class
// after it became runnable; preemption does not postpone that.
//
// Use it when deadlines are known and the load stays below capacity: then it
// meets every deadline that can be met on one core. Under overload it spends its
// time on work that is late already: bound the load by admission. Nobody starves:
// who comes after a deadline, with one that lies ahead, goes behind it.
//
// Invariant: heap_ holds exactly the tasks enqueued and not yet picked; word 0
// of each is when it is due, in ns. Work-conserving.
//
// Source: Liu and Layland, "Scheduling Algorithms for Multiprogramming in a
// Hard-Real-Time Environment", Journal of the ACM 20(1), 1973 (optimal on one
// processor).

#include "yamanote/policy.h"
#include "yamanote/task_heap.h"

namespace yamanote {
namespace {

class EarliestDeadline final : public Policy {
 public:
  explicit EarliestDeadline(const PolicyOptions& options)
      : slice_(options.slice), classes_(options.classes) {
    if (classes_.empty()) classes_.emplace_back();
  }

  void Enqueue(Task& task, Wake why, Instant now) override {
    const bool same_job = why == Wake::kPreempted || why == Wake::kMigrated;
    if (task.deadline != kNever) {
      task.policy_words[0] = static_cast<uint64_t>(ToNanos(task.deadline));
    } else if (!same_job) {
      const size_t c =
          task.request_class < classes_.size() ? task.request_class : 0;
      task.policy_words[0] =
          static_cast<uint64_t>(ToNanos(now + classes_[c].slo));
    }
    heap_.Push(task);
  }

  Task* PickNext(CoreId, Instant) override { return heap_.Pop(); }

  Duration Slice(const Task&) const override { return slice_; }

 private:
  struct DueFirst {
    bool operator()(const Task& a, const Task& b) const {
      return a.policy_words[0] < b.policy_words[0];
    }
  };

  const Duration slice_;
  std::vector<ClassOptions> classes_;
  TaskHeap<DueFirst> heap_;  // Intrusive: never allocates.
};

}  // namespace

extern constexpr PolicyInfo kEdf = {
    .name = "edf",
    .summary = "earliest deadline first; without one, arrival + objective",
    .good_at = "known deadlines at a load that can meet them",
    .bad_at = "overload: it works on what is late already",
    .source =
        "Liu and Layland, Scheduling Algorithms for Multiprogramming, 1973",
    .clock = ClockUse::kNow,
    .make = [](const PolicyOptions& options) -> std::unique_ptr<Policy> {
      return std::make_unique<EarliestDeadline>(options);
    },
};

}  // namespace yamanote
