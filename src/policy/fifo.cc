// fifo.cc - first come, first served.
//
// The task that became runnable first runs first, on whichever core asks. A
// preempted task rejoins at the tail, which with a finite slice is round robin,
// or (`rejoin = head`) goes on before everything that waits.
//
// Use it when service times vary little. Without a slice, one long request
// delays every request behind it (head-of-line blocking).
//
// Invariant: queue_ holds exactly the tasks enqueued and not yet picked, in the
// order of their Enqueue() calls, rejoined heads first. Work-conserving.
//
// Source: Wierman and Zwart, "Is Tail-Optimal Scheduling Possible?", Operations
// Research 60(5), 2012 (FCFS suits light-tailed job sizes).

#include "policy/background.h"
#include "yamanote/policy.h"
#include "yamanote/task_queue.h"

namespace yamanote {
namespace {

class Fifo final : public Policy {
 public:
  explicit Fifo(const PolicyOptions& options)
      : slice_(options.slice), rejoin_(options.rejoin), background_(options) {}

  void Enqueue(Task& task, Wake why, Instant) override {
    if (background_.Has(task)) {
      background_.Enqueue(task, why);
    } else if (why == Wake::kPreempted && rejoin_ == Rejoin::kHead) {
      queue_.PushFront(task);
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
  const Rejoin rejoin_;
  TaskQueue queue_;  // Intrusive: never allocates.
  Background background_;
};

}  // namespace

extern constexpr PolicyInfo kFifo = {
    .name = "fifo",
    .summary = "the task that became runnable first runs first",
    .good_at = "service times that vary little; the cheapest order",
    .bad_at = "a mix of short and long requests without a slice",
    .source = "Wierman and Zwart, Is Tail-Optimal Scheduling Possible?, 2012",
    .background = true,
    .make = [](const PolicyOptions& options) -> std::unique_ptr<Policy> {
      return std::make_unique<Fifo>(options);
    },
};

}  // namespace yamanote
