// roster.h - the threads of an enclave as its agents know them, and who runs where.
//
// What all agents have in common: messages become calls of the placement, and what it
// picks becomes transactions. The truth is the kernel's and a little ahead, so a picked
// thread is looked at before it is committed, and a commit may fail:
//
//   message -> Apply() -> Placement::Enqueue
//   Placement::PickNext -> Take() -> [transaction] -> Settle()
//
// A policy has no way to take a task out of the middle, so a thread that blocks or dies
// while it waits there is dropped when it is picked. One that was picked and cannot run
// yet, or not on that core, is *set aside* with a core on which it may run; those go
// first. A thread whose slice is over is put back before its successor is committed: it
// is *leaving* until its message says that it left, or it is picked for its core again.
//
// Where siblings must stay in one trust domain, a thread that may not run beside those who
// are there is *deferred*: it waits in one list, from which each core takes first, in the
// order in which the policy returned them. No more are taken from the policy while
// kMostDeferred are.
//
// Invariant: a thread that can run and does not is waiting: the policy has it, or a core
// where it is set aside, or it is deferred; exactly once.
//
// Thread safety: a thread's record belongs to the agent of its home core, whose queue its
// messages go to; the others take that core's lock. Apply() and Resync() are called by
// `agent`'s agent, everything else by `core`'s.

#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/spin_lock.h"
#include "dispatch/placement.h"
#include "native/agents.h"
#include "native/hint_table.h"
#include "native/kernel.h"
#include "native/siblings.h"
#include "yamanote/scheduling.h"

namespace yamanote::native {

// One thread. Guarded by its home core's lock.
struct Thread final : Task {
  ThreadId thread = 0;
  uint32_t sequence = 0;  // Of the last message that was read.
  bool runnable = false;
  bool gone = false;
  bool waiting = false;  // The policy has it, or it is set aside.
  bool leaving = false;  // It is on a core, and was put back.
  // A core's domain counts it among its own: it was enqueued there, and has not ended or
  // blocked since. Which core's, once it was picked.
  bool counted = false;
  CoreId picked_by = kNoCore;
  int32_t tid = 0;
  uint16_t next_weight = 1;  // The kernel's, from when it is woken next.
  CoreId on = kNoCore;       // Where it runs.
  Instant since{};           // When it began there.
  // With siblings: its trust domain, and where it may still be, found there or not.
  TrustDomain domain = 0;
  CoreId there = kNoCore;
  // Whose queue its messages go to. Written by who takes the thread over, which then is
  // the only one that has it: relaxed.
  std::atomic<CoreId> home{0};
};

class Roster {
 public:
  // Requires: options.scheduling is one that Create() of agents.h accepts. The hints, if there
  // are any, outlive the roster.
  Roster(Kernel& kernel, const AgentOptions& options,
         dispatch::Callers callers);
  // Where the messages of `core`'s threads go. Before there are agents.
  void SetQueue(CoreId core, QueueId queue) { cores_[core].queue = queue; }
  // Next() keeps what `siblings` says, which outlives the roster, from now on: before there
  // are agents, of which there is one. `trust`: a thread's domain by its tid.
  void KeepApart(Siblings& siblings,
                 std::function<TrustDomain(int32_t tid)> trust) {
    siblings_ = &siblings;
    trust_ = std::move(trust);
  }
  // Those that wait because of others' domains.
  const std::deque<Thread*>& Deferred() const { return deferred_; }
  // True if `core` is one where threads are to run, and `thread` may.
  bool MayRunNow(const Thread& thread, CoreId core) const {
    return cores_[core].usable && kernel_.MayRun(thread.thread, core);
  }
  ~Roster();
  Roster(const Roster&) = delete;
  Roster& operator=(const Roster&) = delete;

  // What came of a message.
  struct Effect {
    dispatch::Placed placed{};  // Whom to tell.
    CoreId freed = kNoCore;     // Which core has nothing to run now.
    bool enqueued = false;      // A thread waits that did not.
    bool fresh = false;         // And did not run before that.
  };
  // Requires: it is about a thread.
  Effect Apply(const Message& message, CoreId agent, Instant now);

  // Makes all threads that there are `agent`'s. Before any agent's first pass.
  void Adopt(CoreId agent, Instant now);
  // Makes `agent`'s threads as their status words say: its queue was full. Whoever idles
  // must look then.
  void Resync(CoreId agent, Instant now);

  // What Next() found.
  struct Choice {
    Thread* thread =
        nullptr;         // For a transaction; nullptr: nothing new is to run.
    bool retry = false;  // There is something, but not yet: look again soon.
  };
  // Chooses what `core` runs next. Nothing runs there, or the slice of what does is over.
  Choice Next(CoreId core, Instant now);

  // Next()'s thread was committed, with that result. True: it runs there.
  bool Settle(Thread& thread, CoreId core, CommitResult result, Instant now);

  // True if Next(core) may return a thread.
  bool HasWork(CoreId core);

  // Where a transaction for Next()'s thread begins.
  Transaction Propose(const Thread& thread, CoreId core) const {
    return {.thread = thread.thread,
            .core = core,
            .flags = kCheckThread,
            .thread_sequence = thread.sequence,
            .agent_sequence = 0,
            .agent = core,
            .result = kCommitNone};
  }

  // The least slice that there is; kNoPreemption: there are none.
  Duration Quantum() const { return placement_->Quantum(0); }
  // Some wait for `core` alone.
  bool HasAsides(CoreId core) const {
    return cores_[core].asides.load(std::memory_order_relaxed) != 0;
  }
  // A thread came that `core`'s may have to give way to at once: its slice is asked for again.
  void AskAgain(CoreId core);
  // True if that may be: there are background classes.
  bool asks_again() const { return asks_again_; }
  // kNever: nobody looks at slices. Otherwise when that of what runs on `core` is over.
  Instant SliceEnd(CoreId core) const { return cores_[core].slice_end; }
  const Thread* Running(CoreId core) const { return cores_[core].running; }
  // Those of the enclave that wait somewhere. May be stale.
  int64_t Waiting() const { return waiting_.load(std::memory_order_relaxed); }
  // The core is the enclave's, or a higher class has it; and whether threads are to run there.
  dispatch::Placed SetAvailable(CoreId core, bool available, bool usable,
                                Instant now);
  bool Available(CoreId core) const {
    return cores_[core].available.load(std::memory_order_relaxed);
  }

 private:
  struct alignas(base::kNoSharing) Core {
    // The home of threads' records, see above.
    base::SpinLock lock;
    std::deque<Thread*> aside;  // Guarded by `lock`.
    // By others as a hint: relaxed.
    std::atomic<uint32_t> asides{0};
    std::atomic<bool> available{true};

    QueueId queue = 0;  // Constant.

    // Its agent's own.
    Thread* running = nullptr;
    bool usable = true;
    bool proposed =
        false;  // Next() returned a thread, and there was no Settle() yet.
    Instant slice_end = kNever;
  };
  // Holds a core's lock, if there is anybody else.
  class Guard {
   public:
    explicit Guard(base::SpinLock* lock) : lock_(lock) {
      if (lock_ != nullptr) lock_->lock();
    }
    Guard(Guard&& other) noexcept
        : lock_(std::exchange(other.lock_, nullptr)) {}
    Guard& operator=(Guard&&) = delete;
    ~Guard() { Release(); }
    void Release() {
      if (lock_ != nullptr) std::exchange(lock_, nullptr)->unlock();
    }

   private:
    base::SpinLock* lock_;
  };

  // What became of a thread that was picked.
  enum class Taken : uint8_t {
    kYes,
    kResumed,  // It runs there already, and goes on.
    kNo,       // It cannot run; the next one, please.
    kRetry,    // It cannot run yet.
  };

  Guard LockHome(const Thread& thread);
  Guard Lock(CoreId core) {
    return Guard(shared_ ? &cores_[core].lock : nullptr);
  }
  Thread* Find(ThreadId thread) const;
  Thread& Create(const StatusWord& status, CoreId agent, Instant now);
  void Forget(Thread& thread);
  void Reconcile(const StatusWord& status, CoreId agent, Instant now);
  Effect Enqueue(Thread& thread, Wake why, CoreId from, Instant now);
  CoreId Left(Thread& thread, Stop why, Instant now);
  void Stopped(Thread& thread, CoreId core, Stop why, Instant now);
  Task* Pick(CoreId core, Instant now);
  Taken Take(Thread& thread, CoreId core, Instant now);
  Taken TakeOver(Thread& thread, CoreId core);
  Thread* TakeAside(CoreId core);
  Thread* TakeDeferred(CoreId core);
  Thread* TakeFirst(CoreId core);
  bool Admits(CoreId core, const Thread& thread) const {
    return siblings_ == nullptr || siblings_->Admits(core, thread.domain);
  }
  bool CanPick() const { return deferred_.size() < kMostDeferred; }
  void Defer(Thread& thread);
  Choice Proposed(Thread& thread, CoreId core);
  void SetThere(Thread& thread, CoreId core);
  void Drop(Thread& thread);
  void Uncount(Thread& thread, Stop why);
  void Return(Thread& thread, Instant now);
  void SetAside(Thread& thread, CoreId core);
  CoreId WhereItMayRun(const Thread& thread, CoreId core) const;
  void Heed(Thread& thread, Instant now);
  bool ClassChanged(const Thread& thread, Instant now) const;
  void Begin(Thread& thread, CoreId core, Instant now);
  void SetWaiting(Thread& thread, bool waiting) {
    thread.waiting = waiting;
    waiting_.fetch_add(waiting ? 1 : -1, std::memory_order_relaxed);
  }
  Instant PolicyNow(Instant now) const {
    return clock_use_ == ClockUse::kNone ? Instant() : now;
  }

  static constexpr std::size_t kMostDeferred = 64;

  Kernel& kernel_;
  Siblings* siblings_ = nullptr;
  std::function<TrustDomain(int32_t tid)> trust_;
  std::deque<Thread*> deferred_;
  const unsigned count_;
  const bool shared_;  // Each core has an agent of its own.
  HintTable* const hints_;
  const PolicyInfo& order_;
  const ClockUse clock_use_;
  const std::unique_ptr<dispatch::Placement> placement_;
  const bool per_core_;  // Each core has a domain.
  const bool has_slices_;
  const bool observes_stops_;
  const bool asks_again_;
  const std::unique_ptr<Core[]> cores_;
  // By index. Release: pairs with Find(): acquire.
  const std::unique_ptr<std::atomic<Thread*>[]> threads_;
  const uint32_t max_threads_;
  // Gone, and still waiting in the policy.
  base::SpinLock ghosts_lock_;
  std::unordered_set<Thread*> ghosts_;
  std::atomic<int64_t> waiting_{0};
  std::atomic<uint64_t> next_id_{0};
};

}  // namespace yamanote::native
