// domain.h - a policy, the lock that makes its calls one at a time, and a count.
//
// A domain is the set of cores that share one queue. The lock is held for one
// policy call (or one Enqueue and one PickNext); with the virtual call it costs
// 1-2 ns of a 7-8 ns yield when uncontended (measured on a 4-vCPU AMD VM, see
// the design), which is why the queue inside needs no lock-free structure.
//
// The waiting count is written under the lock and read without it: by cores
// that look for work, by admission and by whoever keeps time. A stale value
// costs one fruitless look or one late look, never a lost task: parking re-reads
// it after a fence (worker/park.h).

#pragma once

#include <atomic>
#include <memory>
#include <mutex>

#include "base/cpu.h"
#include "base/spin_lock.h"
#include "dispatch/queue_watch.h"
#include "yamanote/policy.h"

namespace yamanote::dispatch {

class alignas(base::kNoSharing) Domain {
 public:
  // `shared` false: every call comes from one thread, so the lock need not be taken.
  Domain(const PolicyInfo& info, const PolicyOptions& options, bool shared)
      : policy_(info.make(options)), shared_(shared) {}

  // Shows the queue in `signals` from now on. First before any other call; then any
  // thread, and `timed` is what it was.
  void Watch(arbiter::CoreSignals& signals, bool timed) {
    const Guard guard(*this);
    if (watch_ != nullptr) return watch_->Move(signals);
    watch_ = std::make_unique<QueueWatch>(signals, timed);
  }

  // Any thread (the owner alone if not shared).
  void Enqueue(Task& task, Wake why, Instant now) {
    const Guard guard(*this);
    policy_->Enqueue(task, why, now);
    Add(1);
    if (watch_ != nullptr) watch_->Joined(now);
  }

  // Returns what `core` runs next, nullptr if the policy has nothing for it.
  Task* PickNext(CoreId core, Instant now) {
    if (Waiting() == 0) return nullptr;
    const Guard guard(*this);
    Task* const task = policy_->PickNext(core, now);
    if (task != nullptr) Remove();
    return task;
  }

  // True if PickNext(core) would return a task, or may: somebody is just changing
  // what waits. For an order that may keep tasks back; for others Waiting() says so
  // without the lock. Async-signal-safe: does not wait for the lock, which the
  // interrupted thread may hold.
  bool HasWork(CoreId core) {
    if (Waiting() == 0) return false;
    if (!lock_.try_lock()) return true;
    const bool has_work = policy_->HasWork(core);
    lock_.unlock();
    return has_work;
  }

  // Returns what `thief`, a core of another domain, takes. Gives up instead of
  // waiting for the lock.
  Task* TrySteal(CoreId thief, Instant now) {
    if (Waiting() == 0 || !lock_.try_lock()) return nullptr;
    Task* const task = policy_->Steal(thief, now);
    if (task != nullptr) Remove();
    lock_.unlock();
    return task;
  }

  // The same for whoever has to: waits for the lock.
  Task* Steal(CoreId thief, Instant now) {
    if (Waiting() == 0) return nullptr;
    const Guard guard(*this);
    Task* const task = policy_->Steal(thief, now);
    if (task != nullptr) Remove();
    return task;
  }

  // Puts `stopped` back and returns what `core` runs instead; may be `stopped`.
  // nullptr only if the policy is not work-conserving.
  Task* Exchange(Task& stopped, Wake why, CoreId core, Instant now) {
    const Guard guard(*this);
    policy_->Enqueue(stopped, why, now);
    Task* const next = policy_->PickNext(core, now);
    if (next == nullptr) Add(1);  // Else one in, one out.
    if (watch_ != nullptr) {
      watch_->Joined(now);
      if (next != nullptr) watch_->Left();
    }
    return next;
  }

  // Policy::OnStop under the lock.
  void OnStop(Task& task, CoreId core, Stop why, Duration ran) {
    const Guard guard(*this);
    policy_->OnStop(task, core, why, ran);
  }

  // Policy::Slice under the lock.
  Duration Slice(const Task& task) {
    const Guard guard(*this);
    return policy_->Slice(task);
  }

  // Tasks enqueued and not picked. Any thread; may be stale.
  uint32_t Waiting() const { return waiting_.load(std::memory_order_relaxed); }

 private:
  class Guard {
   public:
    explicit Guard(Domain& domain)
        : lock_(domain.shared_ ? &domain.lock_ : nullptr) {
      if (lock_ != nullptr) lock_->lock();
    }
    ~Guard() {
      if (lock_ != nullptr) lock_->unlock();
    }
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;

   private:
    base::SpinLock* const lock_;
  };

  // Under the lock, so load and store need not be one step.
  void Add(int delta) {
    waiting_.store(
        waiting_.load(std::memory_order_relaxed) + static_cast<uint32_t>(delta),
        std::memory_order_relaxed);
  }

  void Remove() {
    Add(-1);
    if (watch_ != nullptr) watch_->Left();
  }

  // One line: written by every call.
  base::SpinLock lock_;
  std::atomic<uint32_t> waiting_{0};
  // Constant after construction.
  const std::unique_ptr<Policy> policy_;
  const bool shared_;
  std::unique_ptr<QueueWatch> watch_;  // nullptr: nobody looks.
};

}  // namespace yamanote::dispatch
