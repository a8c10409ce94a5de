// rr.cc - round robin: first come, first served, in slices.
//
// Every task runs for one slice and rejoins at the tail, whatever `rejoin` says.
// With slices much shorter than a service time this is processor sharing: a
// short request waits for a slice of each longer one, not for all of it.
//
// Use it for multimodal or heavy-tailed service times that nobody can predict.
// For equal service times it makes everybody finish late: use fifo.
//
// Invariant: queue_ holds exactly the tasks enqueued and not yet picked, in the
// order of their Enqueue() calls. Work-conserving.
//
// Source: Kleinrock, "Analysis of a Time-Shared Processor", Naval Research
// Logistics Quarterly 11(1), 1964 (processor sharing as the limit of slices).

#include "policy/background.h"
#include "yamanote/policy.h"
#include "yamanote/task_queue.h"

namespace yamanote {
namespace {

// Used if the configuration sets none: 20 us, about ten times what a preemption
// by signal costs, so that slicing takes a tenth of a core at the very most.
constexpr Duration kDefaultSlice = std::chrono::microseconds(20);

class RoundRobin final : public Policy {
 public:
  explicit RoundRobin(const PolicyOptions& options)
      : slice_(options.slice == kNoPreemption ? kDefaultSlice : options.slice),
        background_(options) {}

  void Enqueue(Task& task, Wake why, Instant) override {
    if (background_.Has(task)) {
      background_.Enqueue(task, why);
    } else {
      queue_.PushBack(task);
    }
  }

  Task* PickNext(CoreId, Instant) override {
    Task* const task = queue_.PopFront();
    return task != nullptr ? task : background_.PickNext();
  }

  Duration Slice(const Task& task) const override {
    return !queue_.Empty() && background_.Has(task) ? Background::kAtOnce
                                                    : slice_;
  }

 private:
  const Duration slice_;
  TaskQueue queue_;  // Intrusive: never allocates.
  Background background_;
};

}  // namespace

extern constexpr PolicyInfo kRr = {
    .name = "rr",
    .summary = "round robin with a slice of 20us unless another is set",
    .good_at = "short requests among long ones of unknown length",
    .bad_at = "service times that are all alike: every one finishes late",
    .source = "Kleinrock, Analysis of a Time-Shared Processor, 1964",
    .sets_slices = true,
    .background = true,
    .make = [](const PolicyOptions& options) -> std::unique_ptr<Policy> {
      return std::make_unique<RoundRobin>(options);
    },
};

}  // namespace yamanote
