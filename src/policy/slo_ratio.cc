// slo_ratio.cc - a queue for each request class; the class whose head has
// waited the largest share of its objective goes first.
//
// The share is (now - arrival) / slo, so a short class overtakes a long one as
// soon as waiting hurts it more, and a long class is never starved: its share
// grows without bound, those of the others do not as long as admission bounds how
// many wait. Ties go to the lower class. A preempted task rejoins its own class's
// head or tail.
//
// Use it when the class of a request is known and classes differ in length.
// With one class it is fifo that reads the clock: use fifo. Picking costs time
// in proportion to the number of classes.
//
// Invariant: queues_[c] holds exactly the tasks of class c enqueued and not yet
// picked. Work-conserving.
//
// Source: Kaffes et al., "Shinjuku: Preemptive Scheduling for microsecond-scale
// Tail Latency", NSDI 2019 (the multi-queue policy).

#include <algorithm>

#include "policy/background.h"
#include "yamanote/policy.h"
#include "yamanote/task_queue.h"

namespace yamanote {
namespace {

class SloRatio final : public Policy {
 public:
  explicit SloRatio(const PolicyOptions& options)
      : slice_(options.slice),
        rejoin_(options.rejoin),
        background_(options),
        queues_(std::max<size_t>(options.classes.size(), 1)) {
    for (size_t c = 0; c < options.classes.size(); ++c) {
      queues_[c].per_slo =
          1.0 / static_cast<double>(ToNanos(options.classes[c].slo));
    }
  }

  void Enqueue(Task& task, Wake why, Instant) override {
    if (background_.Has(task)) return background_.Enqueue(task, why);
    ++waiting_;
    const ClassId c =
        task.request_class < queues_.size() ? task.request_class : 0;
    if (why == Wake::kPreempted && rejoin_ == Rejoin::kHead) {
      queues_[c].tasks.PushFront(task);
    } else {
      queues_[c].tasks.PushBack(task);
    }
  }

  Task* PickNext(CoreId, Instant now) override {
    ClassQueue* best = nullptr;
    double best_share = 0;
    for (ClassQueue& queue : queues_) {
      const Task* const head = queue.tasks.Front();
      if (head == nullptr) continue;
      const double share =
          static_cast<double>(ToNanos(now - head->arrival)) * queue.per_slo;
      if (best == nullptr || share > best_share) {
        best = &queue;
        best_share = share;
      }
    }
    if (best == nullptr) return background_.PickNext();
    --waiting_;
    return best->tasks.PopFront();
  }

  Duration Slice(const Task& task) const override {
    return waiting_ > 0 && background_.Has(task) ? Background::kAtOnce : slice_;
  }

 private:
  struct ClassQueue {
    TaskQueue tasks;
    double per_slo = 1.0;  // 1 / objective in ns.
  };

  const Duration slice_;
  const Rejoin rejoin_;
  size_t waiting_ = 0;  // In queues_.
  Background background_;
  std::vector<ClassQueue> queues_;  // By class; sized at construction.
};

}  // namespace

extern constexpr PolicyInfo kSloRatio = {
    .name = "slo-ratio",
    .summary = "a queue per class; most waiting time per objective first",
    .good_at = "classes of known, different lengths, each with an objective",
    .bad_at = "one class only, or classes that say nothing about length",
    .source = "Kaffes et al., Shinjuku (multi-queue policy), NSDI 2019",
    .clock = ClockUse::kNow,
    .background = true,
    .make = [](const PolicyOptions& options) -> std::unique_ptr<Policy> {
      return std::make_unique<SloRatio>(options);
    },
};

}  // namespace yamanote
