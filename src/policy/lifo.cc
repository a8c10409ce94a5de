// lifo.cc - last come, first served.
//
// The task that became runnable last runs first. Whoever gives way, by itself or
// because its slice is over, goes behind everything that waits. A thief gets the
// oldest of the others: of a tree's walk the largest piece, so that it need not
// come again soon.
//
// Use it for fork-join: a parent's newest child is the smallest piece of work and
// still in the cache, so a tree is walked depth first and few threads are alive
// at a time, where fifo keeps a whole level of it alive. Do not use it for
// requests: the oldest may wait for ever while new ones come.
//
// Invariant: the two queues hold exactly the tasks enqueued and not yet picked.
// Work-conserving. Starves: who came first or gave way waits while new ones come.
//
// Source: Blumofe and Leiserson, "Scheduling Multithreaded Computations by Work
// Stealing", Journal of the ACM 46(5), 1999 (depth-first work bounds space;
// thieves take the shallowest).

#include "yamanote/policy.h"
#include "yamanote/task_queue.h"

namespace yamanote {
namespace {

class Lifo final : public Policy {
 public:
  explicit Lifo(const PolicyOptions& options) : slice_(options.slice) {}

  void Enqueue(Task& task, Wake why, Instant) override {
    if (why == Wake::kYield || why == Wake::kPreempted) {
      gave_way_.PushBack(task);
    } else {
      fresh_.PushFront(task);
    }
  }

  Task* PickNext(CoreId, Instant) override {
    Task* const task = fresh_.PopFront();
    return task != nullptr ? task : gave_way_.PopFront();
  }

  Task* Steal(CoreId, Instant) override {
    Task* const task = fresh_.PopBack();
    return task != nullptr ? task : gave_way_.PopFront();
  }

  Duration Slice(const Task&) const override { return slice_; }

 private:
  const Duration slice_;
  TaskDeque fresh_;  // Intrusive both: never allocate.
  TaskQueue gave_way_;
};

}  // namespace

extern constexpr PolicyInfo kLifo = {
    .name = "lifo",
    .summary = "the task that became runnable last runs first",
    .good_at =
        "fork-join programs: depth first, few threads alive, warm caches",
    .bad_at = "requests: the oldest may starve",
    .source =
        "Blumofe and Leiserson, Scheduling Multithreaded Computations by Work "
        "Stealing, 1999",
    .starves = "who came first or gave way, while new ones come",
    .make = [](const PolicyOptions& options) -> std::unique_ptr<Policy> {
      return std::make_unique<Lifo>(options);
    },
};

}  // namespace yamanote
