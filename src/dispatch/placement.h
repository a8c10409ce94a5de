// placement.h - which domain a task waits in, and how work moves between domains.
//
// The engine (worker room, simulator) knows tasks and cores; a placement knows
// domains. It is mechanism shared by all engines, so it never parks, signals or
// reads a clock: it says whom to wake, the engine does it.
//
//   Enqueue -> [domain] -> PickNext (own work) or FindWork (others' work)
//
// A core's loop:  Leave(); poll; while (Dispatch(core)) wake whom it names;
//                 PickNext(), if nothing FindWork(), if nothing HasWork(), park
//
// Thread safety: every call names the core it is made for, and calls for one
// core come from one thread at a time. Enqueue() with kNoCore may come from any
// thread at any time.
//
// No lost wake-up: the enqueuer calls Enqueue(), then a seq_cst fence, then
// reads the idle flags of whom Placed names; the idle core raises its flag, then
// a seq_cst fence, then calls HasWork() and parks only if it is false. One of
// the two fences comes first, so either the enqueuer sees the flag or HasWork()
// sees the task. Relaxed loads inside HasWork() therefore suffice; HasWork()
// without the fence is a hint.

#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "arbiter/abi.h"
#include "yamanote/scheduling.h"
#include "yamanote/task.h"

namespace yamanote::dispatch {

// Whom the engine must make sure is awake after an Enqueue().
enum class Notify : uint8_t {
  kNobody,    // The calling core takes the task at its next scheduling point.
  kCore,      // Exactly `core`: nobody else can take the task.
  kAnyone,    // One idle core, whichever; `core` is the best one or kNoCore.
  kEveryone,  // All idle cores: the order knows which of them may run the task.
};

struct Placed {
  Notify notify = Notify::kNobody;
  CoreId core = kNoCore;
};

// The core that placements which hash give `flow` (not 0) to, of `cores`. A
// multiplicative hash: neighbouring flows land on different cores.
inline CoreId HomeOfFlow(uint64_t flow, unsigned cores) {
  const uint64_t mixed = (flow * 0x9E3779B97F4A7C15u) >> 32;
  return static_cast<CoreId>((mixed * cores) >> 32);
}

class Placement {
 public:
  virtual ~Placement() = default;

  // Makes `task` runnable. `flow` is the hash of its connection; it chooses the
  // domain of a new task where the placement hashes. `from` is the calling core,
  // kNoCore for a thread that is none. Never fails: admission came before.
  virtual Placed Enqueue(Task& task, Wake why, uint64_t flow, CoreId from,
                         Instant now) = 0;

  // Returns the next task for `core` without looking at other cores' work.
  virtual Task* PickNext(CoreId core, Instant now) = 0;

  // As Enqueue(current) and PickNext() in one step: `current` gives way on
  // `core`. May return `current`. Returns nullptr if `current` went elsewhere (to
  // a dedicated dispatcher) and `core` has nothing to run yet. Unless `current`
  // is returned, another core may run it before this call is over.
  virtual Task* Exchange(Task& current, Wake why, CoreId core, Instant now) = 0;

  // Says that `core` has left its task and does something else (polls, serves
  // timers) before it picks. Optional: it makes the load of `core` and, with a
  // dispatcher, its completion known at once instead of at the next PickNext().
  // Default: nothing.
  virtual void Leave(CoreId /*core*/) {}

  // Looks where PickNext() does not: the longest other queue, a random victim.
  // Called when `core` would idle. May leave a task where it is likely to run at
  // once; HasWork() is then true, and the core looks again within some
  // microseconds. Default: there is nowhere else.
  virtual Task* FindWork(CoreId /*core*/, Instant /*now*/) { return nullptr; }

  // As FindWork(), from `victim` alone: a core that is stuck in a task. Not only
  // when `core` would idle. Default: nothing can be taken from it.
  virtual Task* TakeFrom(CoreId /*victim*/, CoreId /*core*/, Instant /*now*/) {
    return nullptr;
  }

  // True if PickNext() or FindWork() might return a task for `core`. Read by a
  // core about to park (after a full fence) and by whoever keeps slices.
  virtual bool HasWork(CoreId core) const = 0;

  // The same without what would have to be taken from other cores. Default: there is
  // nothing such.
  virtual bool HasOwnWork(CoreId core) const { return HasWork(core); }

  // True if what waits for one core may be taken by another. Constant. Default:
  // every task has its core, or somebody who sends it there.
  virtual bool SharesWork() const { return false; }

  // Reports that `task` left `core`. Before the Enqueue() or Exchange() that
  // follows a yield or preemption. Called only if ObservesStops().
  virtual void OnStop(Task& task, CoreId core, Stop why, Duration ran) = 0;
  virtual bool ObservesStops() const = 0;

  // The least that Slice() returns on `core`: how long a task runs there before
  // whoever keeps time looks whether it should give way. kNoPreemption: nobody
  // needs to keep time. Constant.
  virtual Duration Quantum(CoreId /*core*/) const { return quantum_; }

  // True if `core` has to look after the others' slices while it runs a task: the
  // task's probes then read the clock, every one. Constant. Default: no core has.
  virtual bool KeepsTime(CoreId /*core*/) const { return false; }

  // Returns how long `task`, just picked for `core`, may run there.
  virtual Duration Slice(const Task& task, CoreId core) = 0;

  // Does the dispatcher's own work if `core` is the dedicated dispatcher: all
  // arrivals into the policy, at most one pick into a worker's slot. Returns
  // that worker ({kCore, worker}: it must be awake), kNobody when there is no
  // more to do. Another core may have to wake those for which its order keeps
  // work. Called before PickNext(), until kNobody or so often that every slot could be
  // filled. Default: nothing to do.
  virtual Placed Dispatch(CoreId /*core*/, Instant /*now*/) { return {}; }

  // How long `core` may run tasks that wait for it without a look at timers,
  // events and Dispatch(). Each look costs some system calls, 3 us on a 2-vCPU
  // VM (2026-11-25); what a late one finds would have waited behind those tasks.
  // Constant. Default: 30 us.
  virtual Duration PassInterval(CoreId /*core*/) const {
    return std::chrono::microseconds(30);
  }

  // Shows each core's queue in `signals`, as many as there are cores, from now on;
  // where cores share a queue it is shown with the first. `timed`: how long tasks wait
  // is shown, too, so that Enqueue() and Exchange() need an exact `now`. Only with
  // Supply::kArbiter, before any other call; and again, from any thread, if they are to be
  // shown elsewhere.
  virtual void Watch(std::span<arbiter::CoreSignals> /*signals*/,
                     bool /*timed*/) {}

  // `core` is the application's from now on, or it is no longer: then it is sent no more
  // tasks, and what waits there goes to those that are held. Returns whom to tell. Only
  // with Supply::kArbiter, under which none is held at first. Default: what waits belongs
  // to no core.
  virtual Placed SetHeld(CoreId /*core*/, bool /*held*/, Instant /*now*/) {
    return {};
  }

  // What the order needs to know about time.
  ClockUse clock_use() const { return clock_use_; }

 protected:
  Placement(const PolicyInfo& order, const PolicyOptions& options)
      : clock_use_(order.clock), quantum_(QuantumOf(order, options)) {}

 private:
  // For orders that set slices although none is configured.
  static constexpr Duration kUnsetQuantum = std::chrono::microseconds(20);
  static Duration QuantumOf(const PolicyInfo& order,
                            const PolicyOptions& options) {
    if (order.least_slice != nullptr) return order.least_slice(options);
    return options.slice == kNoPreemption && order.sets_slices ? kUnsetQuantum
                                                               : options.slice;
  }

  const ClockUse clock_use_;
  const Duration quantum_;
};

// Who calls: each core's own thread, or one thread for all of them (a simulator), so that
// nothing needs a lock.
enum class Callers : uint8_t { kManyThreads, kOneThread };

// Where the cores come from: they are the application's own, or an arbiter grants and
// revokes them, so that work must be able to leave each of them.
enum class Supply : uint8_t { kOwn, kArbiter };

// Returns the placement that `scheduling` asks for, on `cores` cores. Requires:
// Validate(scheduling, cores); for an arbiter also
// scheduling = ForArbiter(scheduling, cores). `locality` is what the order is told of its
// cores (PolicyOptions).
std::unique_ptr<Placement> MakePlacement(
    const Scheduling& scheduling, unsigned cores,
    Callers callers = Callers::kManyThreads, Supply supply = Supply::kOwn,
    std::span<const CoreLocality> locality = {});

// The same with `order` instead of the one that `scheduling` names: one that is in no list.
std::unique_ptr<Placement> MakePlacement(
    const PolicyInfo& order, const Scheduling& scheduling, unsigned cores,
    Callers callers, Supply supply = Supply::kOwn,
    std::span<const CoreLocality> locality = {});

}  // namespace yamanote::dispatch
