// central.cc - one domain for all cores, called by whichever core needs work.
//
// Use it on few cores: it is the ideal single queue, and no core is lost to
// dispatching. From about four cores on the lock's cache line is what everybody
// waits for: use a dedicated dispatcher (dedicated.cc) or a domain per core.
//
// An order that keeps tasks back (not work-conserving) alone knows which core may
// run one. So every new task wakes all idle cores, and those that it is not for
// sleep on; a core that was at work and gets nothing more though tasks wait wakes
// the others once, for what it may have run before may be theirs now.
//
// Invariant: a task is either in the domain or with one core.

#include <atomic>
#include <memory>

#include "dispatch/domain.h"
#include "dispatch/placements.h"

namespace yamanote::dispatch {
namespace {

class Central final : public Placement {
 public:
  Central(const PolicyInfo& order, const PolicyOptions& options, unsigned cores,
          Callers callers)
      : Placement(order, options),
        observes_stops_(order.observes_stops),
        keeps_back_(!order.work_conserving),
        domain_(order, options, /*shared=*/callers == Callers::kManyThreads),
        cores_(std::make_unique<Core[]>(cores)) {}

  Placed Enqueue(Task& task, Wake why, uint64_t /*flow*/, CoreId from,
                 Instant now) override {
    const CoreId last_core = task.last_core;  // The task is others' after this.
    domain_.Enqueue(task, why, now);
    if (keeps_back_) return {.notify = Notify::kEveryone, .core = kNoCore};
    if (from != kNoCore && TakesItItself(from, why)) return {};
    return {.notify = Notify::kAnyone, .core = last_core};
  }

  void Watch(std::span<arbiter::CoreSignals> signals, bool timed) override {
    domain_.Watch(signals[0], timed);
  }

  Task* PickNext(CoreId core, Instant now) override {
    if (domain_.Waiting() == 0) {
      cores_[core].busy = false;
      return nullptr;
    }
    return PickWaiting(core, now);
  }

  Task* Exchange(Task& current, Wake why, CoreId core, Instant now) override {
    Task* const task = domain_.Exchange(current, why, core, now);
    if (keeps_back_) Note(core, task);
    return task;
  }

  void Leave(CoreId core) override { cores_[core].busy = false; }

  bool HasWork(CoreId core) const override {
    if (!keeps_back_) return domain_.Waiting() != 0;
    return cores_[core].wake_others.load(std::memory_order_relaxed) ||
           domain_.HasWork(core);
  }
  bool SharesWork() const override { return true; }

  void OnStop(Task& task, CoreId core, Stop why, Duration ran) override {
    domain_.OnStop(task, core, why, ran);
  }
  bool ObservesStops() const override { return observes_stops_; }

  Duration Slice(const Task& task, CoreId) override {
    return domain_.Slice(task);
  }

  Placed Dispatch(CoreId core, Instant) override {
    std::atomic<bool>& wake_others = cores_[core].wake_others;
    if (!wake_others.load(std::memory_order_relaxed)) return {};
    wake_others.store(false, std::memory_order_relaxed);
    return {.notify = Notify::kEveryone, .core = kNoCore};
  }

 private:
  // Written by the core itself only.
  struct alignas(base::kNoSharing) Core {
    bool busy = false;  // It runs a task.
    // Only if the order keeps tasks back:
    bool worked = false;  // It had a task since it last woke the others.
    // It has to. Others may read it too, as a hint: relaxed.
    std::atomic<bool> wake_others{false};
  };

  // Apart, so that a look that finds nothing costs little.
  [[gnu::noinline]] Task* PickWaiting(CoreId core, Instant now) {
    Task* const task = domain_.PickNext(core, now);
    cores_[core].busy = task != nullptr;
    if (keeps_back_) Note(core, task);
    return task;
  }

  // `core` got `task`, or nothing.
  void Note(CoreId core, const Task* task) {
    Core& self = cores_[core];
    if (task != nullptr) {
      self.worked = true;
    } else if (self.worked && domain_.Waiting() != 0) {
      self.worked = false;
      self.wake_others.store(true, std::memory_order_relaxed);
    }
  }

  // True if `from` comes back for the task before it runs anything else.
  bool TakesItItself(CoreId from, Wake why) const {
    if (why == Wake::kYield || why == Wake::kPreempted) return true;
    return !cores_[from].busy && domain_.Waiting() <= 1;
  }

  const bool observes_stops_;
  const bool keeps_back_;  // The order may.
  mutable Domain domain_;
  const std::unique_ptr<Core[]> cores_;
};

}  // namespace

std::unique_ptr<Placement> MakeCentral(const PolicyInfo& order,
                                       const PolicyOptions& options,
                                       unsigned cores, Callers callers) {
  return std::make_unique<Central>(order, options, cores, callers);
}

}  // namespace yamanote::dispatch
