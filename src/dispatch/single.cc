// single.cc - one core: one domain that nobody else calls, so no lock.
//
// Every placement is this one when there is a single core. A yield there is the
// cheapest thing a runtime does (target: 10 ns, context switch included), so this
// file does without what the general case needs: the way through Exchange() is
// two policy calls and one look at the inbox.
//
// Invariant: only core 0 calls the policy; other threads use the inbox.

#include <atomic>
#include <memory>

#include "base/cpu.h"
#include "dispatch/inbox.h"
#include "dispatch/placements.h"

namespace yamanote::dispatch {
namespace {

class Single final : public Placement {
 public:
  Single(const PolicyInfo& order, const PolicyOptions& options)
      : Placement(order, options),
        observes_stops_(order.observes_stops),
        policy_(order.make(options)) {}

  Placed Enqueue(Task& task, Wake why, uint64_t /*flow*/, CoreId from,
                 Instant now) override {
    if (from == kNoCore) {
      inbox_.Push(task, why);
      return {.notify = Notify::kCore, .core = 0};
    }
    // Behind those for whom it gave way.
    if (!inbox_.Empty()) DrainInbox(now);
    EnqueueHere(task, why, now);
    return {};
  }

  Task* PickNext(CoreId core, Instant now) override {
    if (!inbox_.Empty()) DrainInbox(now);
    if (own_waiting_ == 0) return nullptr;
    Task* const task = policy_->PickNext(core, now);
    if (task != nullptr) AddWaiting(-1);
    return task;
  }

  Task* Exchange(Task& current, Wake why, CoreId core, Instant now) override {
    if (!inbox_.Empty()) DrainInbox(now);
    policy_->Enqueue(current, why, now);
    Task* const next = policy_->PickNext(core, now);
    if (next == nullptr) AddWaiting(1);  // Else one in, one out.
    return next;
  }

  bool HasWork(CoreId) const override {
    return waiting_.load(std::memory_order_relaxed) != 0 || !inbox_.Empty();
  }

  void OnStop(Task& task, CoreId core, Stop why, Duration ran) override {
    policy_->OnStop(task, core, why, ran);
  }
  bool ObservesStops() const override { return observes_stops_; }

  Duration Slice(const Task& task, CoreId) override {
    return policy_->Slice(task);
  }

 private:
  void EnqueueHere(Task& task, Wake why, Instant now) {
    policy_->Enqueue(task, why, now);
    AddWaiting(1);
  }

  [[gnu::noinline, gnu::cold]] void DrainInbox(Instant now) {
    inbox_.Drain(
        [this, now](Task& task, Wake why) { EnqueueHere(task, why, now); });
  }

  void AddWaiting(int delta) {
    own_waiting_ += static_cast<uint32_t>(delta);
    // Relaxed: a stale count is a hint.
    waiting_.store(own_waiting_, std::memory_order_relaxed);
  }

  // The core's own.
  const bool observes_stops_;
  const std::unique_ptr<Policy> policy_;
  uint32_t own_waiting_ = 0;
  // The same for whoever keeps time, on a line of its own: see worker/worker.h,
  // own_reschedules_.
  alignas(base::kNoSharing) std::atomic<uint32_t> waiting_{0};
  TaskInbox inbox_;
};

}  // namespace

std::unique_ptr<Placement> MakeSingle(const PolicyInfo& order,
                                      const PolicyOptions& options) {
  return std::make_unique<Single>(order, options);
}

}  // namespace yamanote::dispatch
