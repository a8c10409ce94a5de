// central.cc - one domain for all cores, called by whichever core needs work.
//
// Use it on few cores: it is the ideal single queue, and no core is lost to
// dispatching. From about four cores on the lock's cache line is what everybody
// waits for: use a dedicated dispatcher (dedicated.cc) or a domain per core.
//
// Invariant: a task is either in the domain or with one core.

#include <memory>

#include "dispatch/domain.h"
#include "dispatch/placements.h"

namespace yamanote::dispatch {
namespace {

class Central final : public Placement {
 public:
  Central(const PolicyInfo& order, const PolicyOptions& options, unsigned cores)
      : Placement(order, options),
        observes_stops_(order.observes_stops),
        domain_(order, options, /*shared=*/true),
        cores_(std::make_unique<Core[]>(cores)) {}

  Placed Enqueue(Task& task, Wake why, uint64_t /*flow*/, CoreId from,
                 Instant now) override {
    const CoreId last_core = task.last_core;  // The task is others' after this.
    domain_.Enqueue(task, why, now);
    if (from != kNoCore && TakesItItself(from, why)) return {};
    return {.notify = Notify::kAnyone, .core = last_core};
  }

  Task* PickNext(CoreId core, Instant now) override {
    Task* const task = domain_.PickNext(core, now);
    cores_[core].busy = task != nullptr;
    return task;
  }

  Task* Exchange(Task& current, Wake why, CoreId core, Instant now) override {
    return domain_.Exchange(current, why, core, now);
  }

  void Leave(CoreId core) override { cores_[core].busy = false; }

  bool HasWork(CoreId) const override { return domain_.Waiting() != 0; }
  bool SharesWork() const override { return true; }

  void OnStop(Task& task, CoreId core, Stop why, Duration ran) override {
    domain_.OnStop(task, core, why, ran);
  }
  bool ObservesStops() const override { return observes_stops_; }

  Duration Slice(const Task& task, CoreId) override {
    return domain_.Slice(task);
  }

 private:
  // Written and read by the core itself only.
  struct alignas(base::kNoSharing) Core {
    bool busy = false;  // It runs a task.
  };

  // True if `from` comes back for the task before it runs anything else.
  bool TakesItItself(CoreId from, Wake why) const {
    if (why == Wake::kYield || why == Wake::kPreempted) return true;
    return !cores_[from].busy && domain_.Waiting() <= 1;
  }

  const bool observes_stops_;
  Domain domain_;
  const std::unique_ptr<Core[]> cores_;
};

}  // namespace

std::unique_ptr<Placement> MakeCentral(const PolicyInfo& order,
                                       const PolicyOptions& options,
                                       unsigned cores) {
  return std::make_unique<Central>(order, options, cores);
}

}  // namespace yamanote::dispatch
