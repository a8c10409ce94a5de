// las.cc - least attained service first.
//
// The task that has had the least service runs first; equals in the order they
// came. Nothing needs to be known about lengths: who has run little is likely
// to be short. With slices it finishes short requests almost as if they ran
// alone.
//
// Use it when most requests are short and a few are very long (heavy tails).
// For equal service times it is the worst order there is: everybody finishes at
// the end. Threads that live long have run much and go last: keep it for
// requests.
//
// Starves: a long task waits for as long as shorter ones keep the cores busy.
//
// Invariant: heap_ holds exactly the tasks enqueued and not yet picked, and
// nobody changes `attained` of a waiting task. Work-conserving.
//
// Source: Nuyens and Wierman, "The Foreground-Background Queue: A Survey",
// Performance Evaluation 65(3-4), 2008 (optimal for decreasing hazard rates).

#include "yamanote/policy.h"
#include "yamanote/task_heap.h"

namespace yamanote {
namespace {

// Used if the configuration sets none: without a slice the order could act only
// when tasks stop by themselves. 20 us as in rr.cc.
constexpr Duration kDefaultSlice = std::chrono::microseconds(20);

class LeastAttained final : public Policy {
 public:
  explicit LeastAttained(const PolicyOptions& options)
      : slice_(options.slice == kNoPreemption ? kDefaultSlice : options.slice) {
  }

  void Enqueue(Task& task, Wake, Instant) override { heap_.Push(task); }

  Task* PickNext(CoreId, Instant) override { return heap_.Pop(); }

  Duration Slice(const Task&) const override { return slice_; }

 private:
  struct LessServed {
    bool operator()(const Task& a, const Task& b) const {
      return a.attained < b.attained;
    }
  };

  const Duration slice_;
  TaskHeap<LessServed> heap_;  // Intrusive: never allocates.
};

}  // namespace

extern constexpr PolicyInfo kLas = {
    .name = "las",
    .summary = "least service so far first, in slices of 20us unless set",
    .good_at = "heavy tails: many short requests, a few very long ones",
    .bad_at = "service times that are all alike, and long-lived threads",
    .source = "Nuyens and Wierman, The Foreground-Background Queue, 2008",
    .clock = ClockUse::kRunTime,
    .starves = "a long task, while shorter ones come",
    .sets_slices = true,
    .make = [](const PolicyOptions& options) -> std::unique_ptr<Policy> {
      return std::make_unique<LeastAttained>(options);
    },
};

}  // namespace yamanote
