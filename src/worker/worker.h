// worker.h - one core's kernel thread: runs tasks, and between them looks for
// events, timers and other cores' work.
//
// A user thread that stops picks its successor itself and switches to it: the
// scheduler's own stack (the base) is entered only when there is no successor
// or when a pass is due. A pass does what must be done every few microseconds:
//
//   pump (net: replies, batches) -> timers -> events of this core -> dispatcher
//   -> pump, timers, events of a core that is stuck in a task -> next task ->
//   other cores' work
//
// How often: every Placement::PassInterval() while tasks wait for the core.
// Reading the clock at every stop would cost as much as a yield, so stops are
// counted and the count that makes up an interval is measured as the program runs.

#pragma once

#include <atomic>
#include <cstdint>

#include "arbiter/client.h"
#include "base/cpu.h"
#include "base/thread_local.h"
#include "dispatch/placement.h"
#include "preempt/adaptive_slice.h"
#include "preempt/flag.h"
#include "preempt/interrupt.h"
#include "worker/stackless.h"
#include "worker/thread_pool.h"
#include "worker/timer.h"
#include "worker/user_thread.h"
#include "yamanote/runtime.h"

namespace yamanote::worker {

class Engine;
class Pump;
class Worker;

// This(), for that function alone.
extern "C" {
[[gnu::tls_model(
    "initial-exec")]] extern constinit thread_local Worker* yamanote_worker;
}

// The C++ runtime's exception state of a thread (Itanium C++ ABI, 2.2.2), which
// must travel with the user thread: a handler may block.
struct ExceptionState {
  void* caught = nullptr;
  unsigned uncaught = 0;

  bool Any() const { return caught != nullptr || uncaught != 0; }
};

// What a user thread takes along when it leaves its core, and finds on the next:
// state of the kernel thread that is the user thread's own.
struct Carried {
  ExceptionState exceptions;
  // Of preempt::ThreadState.
  uintptr_t guard = 0;
  uint32_t disabled = 0;

  bool Any() const { return exceptions.Any() || guard != 0 || disabled != 0; }
};

class alignas(base::kNoSharing) Worker {
 public:
  Worker(Engine& engine, CoreId core);

  // The kernel thread's life: runs tasks until the engine stops.
  void Loop();

  // The worker that the calling kernel thread is, nullptr if it is none. Not to
  // be kept across anything that may switch: a thread may continue elsewhere.
  static Worker* This();

  // On a user thread of `worker`, which is This(). They return when the thread
  // runs again, perhaps on another worker. Block() is in worker/switch.h.
  static void Yield(Worker* worker, Wake why);
  static void Block(Worker* worker);
  // Yields if the slice is over and something waits; returns whether it did.
  static bool CheckPreempt();
  // After fork() in a task: the child's only thread is the task, on no worker, so that it
  // runs none of the parent's other tasks.
  static void LeaveInChild();
  // What probes call (preempt/probe.h): gives way if that is still wanted.
  static void AtProbe();
  // What handlers call (preempt/interrupt.h), on whichever thread, anywhere.
  static preempt::RunningTask CurrentTask();
  static void AtTick();

  CoreId core() const { return core_; }
  UserThread* current() const { return current_; }
  Engine& engine() const { return engine_; }
  ThreadStock& threads() { return threads_; }
  TimerQueue& timers() { return timers_; }

  // Passes and switches of this worker so far; a change means that it was at a
  // scheduling point in between. A parked worker makes none: see
  // Parking::IsParked(). Any thread. Acquire: pairs with Reschedule().
  uint64_t reschedules() const {
    return reschedules_.load(std::memory_order_acquire);
  }
  // Ends the sleep of a worker whose core is away, so that it looks around. Any thread.
  void Visit() { client_->Visit(core_, visits_); }
  void AddStats(RuntimeStats& stats) const;
  // Whether this worker has gone over to the client's link. Any thread.
  bool HasFollowed() const {
    return life_.load(std::memory_order_acquire) == client_->life();
  }

  // The next pass runs the pump, and there is one before this worker sleeps. To
  // be followed by a wake-up. Any thread.
  // Release: pairs with RunPump().
  void AskForPump() { pump_asked_.store(true, std::memory_order_release); }

  // For a thread that this core spawns: counts it and returns its id. This
  // thread only.
  uint64_t NextThreadId() {
    if (next_id_ == ids_end_) TakeIds();
    Bump(spawned_);
    return next_id_++;
  }

 private:
  // A core that comes to no scheduling point for so long is stuck in a task.
  static constexpr Duration kStuckAfter = std::chrono::microseconds(30);
  // A task whose slice ends while nothing waits has the core look for arrivals,
  // but not more often than this.
  static constexpr Duration kLookInterval = std::chrono::microseconds(10);
  // An idle core looks at what other cores have no more often than this: each
  // look takes lines from them that they write at every switch. Two threads that
  // wake each other on the other core pay 170 ns a hand-over with looks every
  // 1 us, 115 ns with 3 us and 55 ns with none (2-vCPU VM, 2026-11-25).
  static constexpr Duration kLookPause = std::chrono::microseconds(3);
  static constexpr uint32_t kMostStopsPerLook = 256;
  static constexpr uint32_t kStopsAfterPreemption = 2;
  // So many preempted tasks for each core are a crowd, and slices are so many
  // times as long then. Not for ever: who spins until another task has run must
  // give way some day.
  static constexpr int64_t kCrowd = 256;
  static constexpr int64_t kCrowdedFactor = 100;
  static constexpr Instant kSliceNotStarted = Instant::min();
  // A core that asks itself reads the clock so many times in a slice, and lets so many
  // probes pass at most, fewer at first: a new task's may be far apart. It goes on for so long after a task's second slice that ended,
  // for so many tasks after a first one: what ends shortly after a slice says little.
  static constexpr int kReadsPerSlice = 10;
  static constexpr uint32_t kMostSkips = 64;
  static constexpr uint32_t kMostFirstSkips = 32;
  static constexpr int kSlicesToFindOut = 8;
  // So many times in a row another one had looked just before: it keeps time for us.
  static constexpr int kKeptForUs = 8;
  static constexpr Duration kAsksItselfFor = std::chrono::milliseconds(100);
  static constexpr uint32_t kMostInVain = 256;

  // A counter written by this thread alone and read by any.
  using Counter = std::atomic<uint64_t>;
  static void Bump(Counter& counter) {
    counter.store(counter.load(std::memory_order_relaxed) + 1,
                  std::memory_order_relaxed);
  }

  // The life of a stack: runs `thread` and the fresh ones that follow.
  static void StackMain(void* thread);
  // Runs on the stack of `thread`, which is finished; returns the fresh thread
  // that takes the stack over, or leaves it for good.
  static UserThread* Finish(UserThread& thread, Stack* stack);

  // Both return when `from` runs again, on whichever worker.
  void SwitchToThread(UserThread& from, UserThread& to);
  void SwitchToBase(UserThread& from);
  void RunFromBase(UserThread& to);

  // This worker is at a scheduling point. Release: pairs with reschedules(), so that
  // SetPump(), which waits until it moves, sees what ran before.
  void Reschedule() {
    reschedules_.store(++own_reschedules_, std::memory_order_release);
  }
  Duration SliceOf(const UserThread& thread) const;
  Duration OwnInterval() const;
  // Whether so many tasks are preempted and wait that another one does harm. Each
  // keeps a stack: where all of a backlog are begun, none of their stacks is in a
  // cache, and new ones are touched for the first time, which in a VM takes longer
  // than a short task. Then a moment's backlog never ends: at a load of 0.5, 40% of
  // the work went into preemptions (bimodal 5 and 500 us, slices of 5 us, 2-vCPU
  // VM, 2026-11-26; docs/adr/0023-a-crowd-has-long-slices.md).
  bool Crowded() const;
  void CountPreempted(int64_t change);
  // Ends the slice of the current task; returns as Yield().
  static void Preempt(Worker* worker);
  void StartSlice(Instant now);
  void Stopping(UserThread& thread, Stop why);
  void Entering(UserThread& thread);
  bool AttachStack(UserThread& thread);
  // At every stop. Now and then it reads the clock, and keeps time for the others.
  bool PassDue() {
    if (--stops_until_look_ == 0) return LookAtClock();
    return pump_asked_.load(std::memory_order_relaxed);
  }
  bool LookAtClock();
  // Between two looks at the clock, if tasks stop so often.
  Duration LookInterval() const;
  // The next stop makes a pass.
  void WantPass() {
    last_pass_ = Instant{};
    stops_until_look_ = 1;
  }
  // Of a core that asks itself: one of the current task's next probes is asked.
  void AskItself() { preempt::AskOneself(*preempt_, current_->skips); }
  bool AsksItself() const {
    return asks_itself_.load(std::memory_order_relaxed) &&
           (keeps_time_ || !current_->checks_itself ||
            tick_asks_.load(std::memory_order_relaxed));
  }
  void BeginAsking();
  bool AskingPays(Instant now) const;
  Instant AskedSince(Instant now) const;
  bool IsOver(const preempt::Request& request);
  static void AtOwnProbe(Worker* worker);
  bool StillAsksItself(Instant now);
  void AdaptSkips(Instant now);
  // CheckPreempt() of a core that may give way.
  static bool CheckSlice(Worker* worker, Instant now);
  // What a stopping thread's core runs next without a pass; nullptr: go to
  // base.
  UserThread* PickSuccessor();
  Instant Now() const { return wants_now_ ? Clock::now() : Instant{}; }
  static void GiveWay(Worker* worker, Wake why);
  Carried TakeCarried();
  void PutCarried(const Carried& carried);
  // Says, once, that the current task blocks with a lock of the process held.
  void WarnOfHeldLock() const;
  void TakeIds();

  // Where an arbiter hands out the cores (cores.cc). What this worker's core is to the
  // application: its own whenever it likes, or granted and revoked.
  bool MayLeave() const { return client_ != nullptr && !home_; }
  bool Revoked() const;
  // Of the arbiter whose words this worker goes by. This thread.
  arbiter::Link& Words() const { return *link_; }
  // Another one counts now. From the base, between tasks: goes over to it.
  bool IsBehind() const {
    return client_->life() != life_.load(std::memory_order_relaxed);
  }
  void FollowClient();
  // From the base, between tasks: leaves the core and sleeps until it is granted, or the
  // engine stops.
  void BeAway();
  void Come();
  UserThread* LookBeforeLeaving();
  bool LeaveAndKeep();
  void Return();
  bool Keeps() const { return home_ || Words().Keeps(core_); }
  void ShowIdle(Instant now, bool idle);
  void KickIfNeeded(Instant now);

  // One pass; returns a task to run or nullptr.
  UserThread* Pass();
  bool RunPump(Instant now, bool idle);
  bool Help(CoreId other, Instant now);
  UserThread* HelpOneStuck(Instant now);
  void RunTimersOfAway(Instant now);
  UserThread* PickOrSteal(Instant now);
  UserThread* Stolen(Task* task);
  UserThread* LookAtOthers(Instant now);
  UserThread* HelpOthers(Instant now);
  UserThread* Idle();
  UserThread* Found(UserThread* thread);
  void AdaptLookCount(Instant now);
  // What waits for others they can't take, and nobody else is awake to tell them
  // that their slices are over.
  bool KeepsTimeForOthers() const;
  Instant EarliestTimer() const;

  Engine& engine_;
  dispatch::Placement& placement_;
  const CoreId core_;
  arbiter::Client* const client_;  // nullptr: the cores are the runtime's own.
  // What the order and the slice need; constant.
  const bool wants_now_;
  preempt::AdaptiveSlice* const adaptive_;  // nullptr: slices are fixed.
  const bool wants_run_time_;               // The order, or adaptive_.
  const bool observes_stops_;
  const Duration quantum_;  // kNoPreemption: no slices.
  const Duration pass_interval_;
  const bool keeps_time_;  // While it runs tasks, too.

  // This thread only, read and written at every switch.
  UserThread* current_ = nullptr;
  // This core's tasks are asked at their probes, for nobody else keeps time, or may not
  // for this core. The kernel's tick sets it, within this thread: relaxed.
  std::atomic<bool> asks_itself_;
  // The tick found this turn of a task that checks itself too long. As asks_itself_: the
  // tick may come when the task is another's to write to.
  std::atomic<bool> tick_asks_{false};
  // What reschedules_ is. Whoever keeps time reads that one all the time, and may take
  // its line away by that (AMD): waiting for it was a sixth of a preemption's samples.
  uint64_t own_reschedules_ = 0;
  ExceptionState* exceptions_ = nullptr;     // The kernel thread's own.
  preempt::ThreadState* preempt_ = nullptr;  // The same.
  uint32_t stops_until_look_ = 1;
  uint32_t stops_per_look_ = 1;
  Instant slice_end_ = kNever;
  Instant run_start_{};  // Of the current task, or of the switch to it.
  // If it asks itself: until when, if nothing happens, and when a probe was asked last in
  // this turn of the task, or the turn began (within this thread: relaxed); how many tasks
  // were asked since a slice ended; how many probes the last one let pass at first; whose
  // slice it ended last, until the next task, and whether that was not its first.
  std::atomic<Instant> asks_until_{Instant{}};
  std::atomic<Instant> asked_itself_{Instant{}};
  uint32_t asked_in_vain_ = 0;
  uint32_t first_skips_ = 0;
  const UserThread* cut_ = nullptr;
  bool cut_gave_way_ = false;
  int kept_for_us_ = 0;
  Context base_;
  UserThread* handoff_ = nullptr;  // Picked, but only the base can start it.
  [[no_unique_address]] sanitizer::Saved base_saved_;
  [[no_unique_address]] sanitizer::Fiber base_fiber_;
  const void* base_bottom_ = nullptr;
  size_t base_size_ = 0;

  uint64_t next_id_ = 0;
  uint64_t ids_end_ = 0;
  Instant last_pass_{};
  Instant last_look_{};  // At the clock.
  Instant next_look_{};  // An idle core's, at other cores.
  uint64_t random_ = 0;
  Pump* pump_ = nullptr;  // The engine's, as this pass found it.
  bool helped_ = false;   // HelpOthers() found something to do.
  // The core that HelpOneStuck() looked at, when, and its reschedules() then.
  CoreId looked_at_ = 0;
  Instant looked_when_{};
  uint64_t looked_count_ = 0;
  ThreadStock threads_;
  StackStock stacks_;
  TimerQueue timers_;
  // Of the command by which it has the core.
  uint32_t word_ = 0;
  bool held_ = false;
  bool placed_;  // The placement sends tasks here.
  bool home_;
  arbiter::Link* link_;
  // Of link_; written by this thread. Release, pairs with HasFollowed(): it is done with
  // the one before.
  std::atomic<uint32_t> life_{0};
  Instant idle_since_{};  // As the arbiter is shown; Instant{}: it is not idle.
  Instant last_kick_{};
  Stackless stackless_{engine_, timers_};

  // Read by whoever keeps time; hence apart from what is not shared.
  alignas(base::kNoSharing) Counter reschedules_{0};

  alignas(base::kNoSharing) std::atomic<bool> pump_asked_{false};
  std::atomic<uint32_t> visits_{0};

  Counter passes_{0};
  Counter steals_{0};
  Counter parks_{0};
  Counter yields_{0};
  Counter slices_ended_{0};
  Counter preemptions_{0};
  Counter grants_{0};
  // Tasks preempted here less those that went on here. This thread writes.
  std::atomic<int64_t> preempted_{0};
  Counter spawned_{0};
};

inline Worker* Worker::This() {
  Worker* worker;
  YAMANOTE_READ_THREAD_LOCAL(worker, yamanote_worker);
  return worker;
}

}  // namespace yamanote::worker
