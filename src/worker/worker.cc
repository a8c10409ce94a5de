// worker.cc - switching between tasks on one core, and the pass in between.

#include "worker/worker.h"

#include <cxxabi.h>
#include <pthread.h>

#include <algorithm>
#include <cstdio>
#include <optional>
#include <utility>

#include "base/check.h"
#include "preempt/probe.h"
#include "preempt/user_interrupt.h"
#include "worker/engine.h"
#include "worker/switch.h"
#include "worker/sync/caller.h"

namespace yamanote::worker {

extern "C" {
constinit thread_local Worker* yamanote_worker = nullptr;
}

Worker::Worker(Engine& engine, CoreId core)
    : engine_(engine),
      placement_(engine.placement()),
      core_(core),
      client_(engine.client()),
      wants_now_(engine.wants_now()),
      adaptive_(engine.adaptive()),
      wants_run_time_(placement_.clock_use() == ClockUse::kRunTime ||
                      adaptive_ != nullptr),
      observes_stops_(placement_.ObservesStops()),
      quantum_(placement_.Quantum(core)),
      pass_interval_(placement_.PassInterval(core)),
      keeps_time_(engine.timekeeper().needed() && placement_.KeepsTime(core)),
      asks_itself_(keeps_time_),
      random_(0x9e3779b97f4a7c15ULL * (core + 1)),
      threads_(engine.threads()),
      stacks_(engine.stacks()),
      held_(client_ != nullptr && client_->link().home(core)),
      placed_(held_),
      home_(held_),
      link_(client_ != nullptr ? &client_->link() : nullptr) {}

// In blocks, so that cores do not share a counter.
void Worker::TakeIds() {
  constexpr uint64_t kIdsPerBlock = 1024;
  next_id_ = engine_.TakeIds(kIdsPerBlock);
  ids_end_ = next_id_ + kIdsPerBlock;
}

// ---- Leaving and entering a thread ----------------------------------------

void Worker::SwitchToBase(UserThread& from) {
  const Carried carried = TakeCarried();
  current_ = nullptr;
  sanitizer::StartSwitch(&from.saved, &from.stack->fiber, nullptr, base_fiber_,
                         base_bottom_, base_size_);
  void* const resumer = YamanoteSwitch(&from.context, &base_, this, &base_);
  sanitizer::FinishSwitch(&from.saved);
  if (carried.Any()) static_cast<Worker*>(resumer)->PutCarried(carried);
}

void Worker::RunFromBase(UserThread& to) {
  const bool fresh = to.stack == nullptr;
  if (fresh && !AttachStack(to)) {
    // Out of stacks: it waits until a thread ends. Said once.
    static std::atomic<bool> said{false};
    if (!said.exchange(true)) {
      std::fprintf(stderr,
                   "yamanote: no stack for user thread '%s'; it waits for "
                   "another to end. "
                   "Raise vm.max_map_count, or lower stack_bytes or the number "
                   "of threads.\n",
                   to.name);
    }
    // To the order it blocks, here.
    to.last_core = core_;
    if (observes_stops_)
      placement_.OnStop(to, core_, Stop::kBlocked, Duration{0});
    // Relaxed: this thread's, or handed on by the list's lock.
    to.stop_reported.store(true, std::memory_order_relaxed);
    stackless_.Add(to);
    return;
  }
  if (wants_run_time_) run_start_ = Clock::now();
  Entering(to);
  Stack& stack = *to.stack;
  sanitizer::StartSwitch(&base_saved_, nullptr, &stack.fiber, base_fiber_,
                         stack.bottom,
                         static_cast<size_t>(stack.top - stack.bottom));
  if (fresh) {
    YamanoteStart(&base_, stack.top, &StackMain, &to);
  } else {
    YamanoteSwitch(&base_, &to.context, this, &base_);
  }
  sanitizer::FinishSwitch(&base_saved_);
}

[[gnu::cold]] void Worker::WarnOfHeldLock() const {
  static std::atomic<bool> said{false};
  if (said.exchange(true)) return;
  std::fprintf(stderr,
               "yamanote: user thread '%s' blocks while it holds a std::mutex "
               "or another lock of the process; a task that wants the lock "
               "then stops its whole core. Use yamanote::Mutex, or unlock "
               "first.\n",
               current_ == nullptr ? "" : current_->name);
}

// ---- What a user thread calls -----------------------------------------------

void Worker::Yield(Worker* worker, Wake why) {
  Bump(worker->yields_);
  GiveWay(worker, why);
}

void Worker::GiveWay(Worker* worker, Wake why) {
  UserThread& thread = *worker->current_;
  worker->Stopping(thread,
                   why == Wake::kPreempted ? Stop::kPreempted : Stop::kYielded);
  if (worker->PassDue()) {
    // Enqueued before the switch: whoever picks it waits for its context.
    Engine& engine = worker->engine_;
    engine.parking().Notify(worker->placement_.Enqueue(
        thread, why, thread.flow, worker->core_, worker->Now()));
    worker->SwitchToBase(thread);
    return;
  }
  auto* const next = static_cast<UserThread*>(
      worker->placement_.Exchange(thread, why, worker->core_, worker->Now()));
  if (next == &thread) {
    worker->Entering(thread);
  } else if (next == nullptr) {
    worker->SwitchToBase(thread);
  } else {
    worker->SwitchToThread(thread, *next);
  }
}

// ---- The life of a stack ----------------------------------------------------

void Worker::StackMain(void* argument) {
  auto* thread = static_cast<UserThread*>(argument);
  sanitizer::FinishSwitch(nullptr);
  for (;;) {
    thread->run(thread->storage);
    thread = Finish(*thread, thread->stack);
  }
}

[[gnu::noinline]] UserThread* Worker::Finish(UserThread& thread, Stack* stack) {
  // Still a thread like any other: what it destroys may block.
  if (thread.task_locals != nullptr) DestroyTaskLocals(thread.task_locals);
  Worker* const worker = This();
  YAMANOTE_CHECK(worker != nullptr,
                 "a child that a task forked ends by exec or _exit, not by "
                 "returning from the task");
  worker->Stopping(thread, Stop::kFinished);
  if (worker->adaptive_ != nullptr)
    worker->adaptive_->Record(worker->core_, thread.attained);
  thread.stack = nullptr;
  worker->TakeCarried();  // E.g. a guard that an exception left behind.
  // A tick that comes from here on would write to a thread that is another's by then.
  worker->current_ = nullptr;
  worker->engine_.Complete(thread);
  UserThread* const next = worker->PickSuccessor();
  if (next != nullptr && next->stack == nullptr) {
    next->stack = stack;
    worker->Entering(*next);
    return next;
  }
  // Given away before it is left, which is safe: only this core takes from its
  // stock, after the jump, and the stock spills its oldest stacks, not this
  // one.
  worker->stacks_.Return(stack);
  if (next != nullptr) {
    worker->Entering(*next);
    Stack& to = *next->stack;
    sanitizer::StartSwitch(nullptr, &stack->fiber, &to.fiber,
                           worker->base_fiber_, to.bottom,
                           static_cast<size_t>(to.top - to.bottom));
    YamanoteJump(&next->context, worker);
  }
  worker->current_ = nullptr;
  sanitizer::StartSwitch(nullptr, &stack->fiber, nullptr, worker->base_fiber_,
                         worker->base_bottom_, worker->base_size_);
  YamanoteJump(&worker->base_, worker);
}

// ---- The pass ---------------------------------------------------------------

Duration Worker::LookInterval() const {
  return std::min(pass_interval_, engine_.timekeeper().pause());
}

void Worker::AdaptLookCount(Instant now) {
  const Duration elapsed = now - last_look_;
  const Duration interval = LookInterval();
  last_look_ = now;
  if (elapsed > 2 * interval) {
    // At once: at 256 stops of tasks that have become long it is late already.
    stops_per_look_ = std::max<uint32_t>(
        static_cast<uint32_t>(stops_per_look_ * interval / elapsed), 1);
  } else if (elapsed < interval / 2 && stops_until_look_ == 0) {
    // Only if the count ran out: a pass because the queue was empty says
    // nothing about how fast tasks stop.
    stops_per_look_ = stops_per_look_ < kMostStopsPerLook ? stops_per_look_ * 2
                                                          : kMostStopsPerLook;
  }
  stops_until_look_ = stops_per_look_;
}

[[gnu::noinline]] bool Worker::LookAtClock() {
  const Instant now = Clock::now();
  AdaptLookCount(now);
  engine_.timekeeper().KeepInPassing(now);
  if (MayLeave() && Revoked()) return true;
  return now - last_pass_ >= pass_interval_ - LookInterval() / 2 ||
         pump_asked_.load(std::memory_order_relaxed);
}

bool Worker::RunPump(Instant now, bool idle) {
  // Acquire: pairs with AskForPump(), so that the pump finds what it was asked
  // for.
  if (pump_asked_.load(std::memory_order_relaxed)) {
    pump_asked_.exchange(false, std::memory_order_acquire);
  }
  pump_ = nullptr;
  if (engine_.pump() == nullptr) return false;
  // After the count of passes went up and before pump_ is read for good; pairs
  // with the fence in SetPump(): either that sees the count, or this sees
  // nullptr.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  pump_ = engine_.pump();
  return pump_ != nullptr &&
         pump_->Run(core_, now,
                    idle ? Pump::Moment::kIdle : Pump::Moment::kPass);
}

UserThread* Worker::Pass() {
  const Instant now = Clock::now();
  AdaptLookCount(now);
  last_pass_ = now;
  engine_.timekeeper().Keep(now);
  Reschedule();
  // Release: pairs with AddStats(), where the rest of the count are switches.
  passes_.store(passes_.load(std::memory_order_relaxed) + 1,
                std::memory_order_release);
  if (handoff_ != nullptr) {
    UserThread* const thread = handoff_;
    handoff_ = nullptr;
    return thread;
  }
  // What the poller finds is placed by the load of this core as it is now.
  placement_.Leave(core_);
  RunPump(now, /*idle=*/false);
  if (timers_.Next() <= now) timers_.RunExpired(now);
  io::Poller& poller = engine_.parking().poller(core_);
  if (!poller.Empty()) poller.Look(now);
  // Not for ever, though tasks may come as fast as they go.
  for (unsigned i = 0; i < engine_.cores() * kMaxSlots; ++i) {
    const dispatch::Placed placed = placement_.Dispatch(core_, now);
    if (placed.notify == dispatch::Notify::kNobody) break;
    engine_.parking().Notify(placed);
  }
  UserThread* thread = HelpOneStuck(now);
  if (thread == nullptr)
    thread = static_cast<UserThread*>(placement_.PickNext(core_, now));
  if (thread == nullptr && now >= next_look_) thread = LookAtOthers(now);
  if (client_ != nullptr && thread != nullptr) KickIfNeeded(now);
  return thread;
}

UserThread* Worker::LookAtOthers(Instant now) {
  UserThread* thread = Stolen(placement_.FindWork(core_, now));
  if (thread == nullptr) thread = HelpOthers(now);
  // A pump's system calls make the looks rare enough.
  if (thread == nullptr && pump_ == nullptr) next_look_ = now + kLookPause;
  return thread;
}

UserThread* Worker::PickOrSteal(Instant now) {
  Task* const task = placement_.PickNext(core_, now);
  return task != nullptr ? static_cast<UserThread*>(task)
                         : Stolen(placement_.FindWork(core_, now));
}

UserThread* Worker::Stolen(Task* task) {
  if (task != nullptr) Bump(steals_);
  return static_cast<UserThread*>(task);
}

// Does for a core that is busy with a task what it can't do now: its timers,
// its events, its replies. ZygOS interrupts such a core; on stock Linux an
// interrupt costs 20 us, and an epoll set may be read by anyone. Returns true
// if that may have made tasks runnable.
bool Worker::Help(CoreId other, Instant now) {
  TimerQueue& timers = engine_.worker(other).timers_;
  const bool expired = timers.Next() <= now;
  if (expired) timers.RunExpired(now);
  const bool pumped = pump_ != nullptr && pump_->Help(other);
  io::Poller& poller = engine_.parking().poller(other);
  return (!poller.Empty() && poller.Look(now) > 0) || pumped || expired;
}

// Not in turn: whose core is away has nobody else, and a look costs two loads.
void Worker::RunTimersOfAway(Instant now) {
  for (CoreId other = 0; other < engine_.cores(); ++other) {
    TimerQueue& timers = engine_.worker(other).timers_;
    if (engine_.parking().IsAway(other) && timers.Next() <= now)
      timers.RunExpired(now);
  }
}

// For cores that are never idle: looks at another core in turn. If that came to
// no scheduling point since the last look, helps it and takes one task from it;
// returns what to run then.
UserThread* Worker::HelpOneStuck(Instant now) {
  if (!engine_.parking().work_moves() || now - looked_when_ < kStuckAfter)
    return nullptr;
  looked_when_ = now;
  if (engine_.parking().away() != 0) RunTimersOfAway(now);
  const CoreId other = looked_at_;
  const bool stuck =
      other != core_ && engine_.worker(other).reschedules() == looked_count_ &&
      (!engine_.parking().IsParked(other) || engine_.parking().IsAway(other));
  looked_at_ = other + 1 < engine_.cores() ? other + 1 : 0;
  if (looked_at_ == core_)
    looked_at_ = core_ + 1 < engine_.cores() ? core_ + 1 : 0;
  looked_count_ = engine_.worker(looked_at_).reschedules();
  if (!stuck) return nullptr;
  Help(other, now);
  UserThread* const thread = Stolen(placement_.TakeFrom(other, core_, now));
  // What Help() left to this core, which runs something else now.
  if (thread != nullptr && placement_.HasWork(core_))
    engine_.parking().Notify({dispatch::Notify::kAnyone, kNoCore});
  return thread;
}

// For idle cores: helps all others, until there is work.
UserThread* Worker::HelpOthers(Instant now) {
  if (!engine_.parking().work_moves()) return nullptr;
  const unsigned cores = engine_.cores();
  random_ = random_ * 6364136223846793005ULL + 1442695040888963407ULL;
  const auto first = static_cast<CoreId>((random_ >> 33) % cores);
  for (CoreId i = 0; i < cores; ++i) {
    const CoreId other = (first + i) % cores;
    if (other == core_ || !Help(other, now)) continue;
    helped_ = true;
    if (UserThread* const thread = PickOrSteal(now)) return thread;
  }
  return nullptr;
}

Instant Worker::EarliestTimer() const {
  Instant earliest = timers_.Next();
  if (!engine_.parking().work_moves()) return earliest;
  for (CoreId core = 0; core < engine_.cores(); ++core) {
    earliest = std::min(earliest, engine_.worker(core).timers_.Next());
  }
  return earliest;
}

bool Worker::KeepsTimeForOthers() const {
  if (!engine_.timekeeper().needed() || engine_.parking().AnySpinning())
    return false;
  for (CoreId core = 0; core < engine_.cores(); ++core) {
    if (core != core_ && placement_.HasWork(core)) return true;
  }
  return false;
}

UserThread* Worker::Found(UserThread* thread) {
  Parking& parking = engine_.parking();
  if (parking.EndSpinWithWork(core_) &&
      (parking.NeedsWatcher() ||
       (placement_.SharesWork() && placement_.HasWork(core_)))) {
    // The last one that looked or watched now works: another takes over.
    parking.Notify({dispatch::Notify::kAnyone,
                    core_ + 1 < engine_.cores() ? core_ + 1 : 0});
  }
  return thread;
}

// Looks for work for `spin`, then sleeps; returns work, or nullptr to stop.
UserThread* Worker::Idle() {
  if (client_ != nullptr && !Keeps()) return LookBeforeLeaving();
  Parking& parking = engine_.parking();
  parking.BeginSpin(core_);
  const Duration spin = engine_.options().spin;
  Instant park_after = Clock::now() + spin;
  while (!engine_.stopping()) {
    if (client_ != nullptr && IsBehind()) break;
    if (MayLeave() && Revoked()) break;
    if (UserThread* const thread = Pass()) {
      if (adaptive_ != nullptr) adaptive_->EndIdle(core_, last_pass_);
      if (client_ != nullptr) ShowIdle(last_pass_, false);
      return Found(thread);
    }
    // Help is progress too: where there was something, there may be more.
    if (RunPump(last_pass_, /*idle=*/true) || std::exchange(helped_, false)) {
      if (adaptive_ != nullptr) adaptive_->EndIdle(core_, last_pass_);
      continue;
    }
    if (adaptive_ != nullptr) adaptive_->BeginIdle(core_, last_pass_);
    if (client_ != nullptr) ShowIdle(last_pass_, true);
    if (last_pass_ < park_after || (MayLeave() && !Words().parks())) {
      base::Pause();
      continue;
    }
    parking.BeginPark(core_);
    if (placement_.HasWork(core_) ||
        pump_asked_.load(std::memory_order_relaxed) || engine_.stopping() ||
        EarliestTimer() <= last_pass_ || KeepsTimeForOthers()) {
      parking.CancelPark(core_);
      park_after = last_pass_ + kLookPause;
      continue;
    }
    Bump(parks_);
    if (client_ != nullptr && !Keeps()) {
      if (!parking.BeAway(core_)) continue;
      held_ = false;
      return nullptr;
    }
    if (client_ != nullptr && !LeaveAndKeep()) {
      parking.CancelPark(core_);
      break;
    }
    // The arbiter wakes it by a signal, which may come just before it sleeps.
    const Duration longest =
        MayLeave() ? arbiter::Link::kLongestSleep : Duration::max();
    parking.Sleep(core_, [this] { return EarliestTimer(); }, longest);
    if (client_ != nullptr) Return();
    park_after = Clock::now() + spin;
  }
  // What others have left to this spinner, somebody else has to look for.
  if (parking.EndSpinWithWork(core_))
    parking.Notify({dispatch::Notify::kAnyone, kNoCore});
  return nullptr;
}

void Worker::LeaveInChild() {
  yamanote_worker = nullptr;
  preempt::ThreadState& state = preempt::OwnState();
  state.skips = 0;
  state.flag.store(0, std::memory_order_relaxed);
}

void Worker::Loop() {
  yamanote_worker = this;
  exceptions_ = reinterpret_cast<ExceptionState*>(abi::__cxa_get_globals());
  preempt_ = &preempt::AdoptThread();
  sanitizer::AdoptFiber(base_fiber_);
  pthread_attr_t attributes;
  YAMANOTE_CHECK(pthread_getattr_np(pthread_self(), &attributes) == 0,
                 "the kernel thread's stack is not known");
  void* bottom = nullptr;
  pthread_attr_getstack(&attributes, &bottom, &base_size_);
  pthread_attr_destroy(&attributes);
  base_bottom_ = bottom;

  if (client_ != nullptr && home_) Come();
  preempt::Timekeeper& timekeeper = engine_.timekeeper();
  if (engine_.mechanism() == Mechanism::kUserInterrupt)
    preempt_->receiver = preempt::ReceiveUserInterrupts();
  timekeeper.Enter(core_);
  std::optional<preempt::Tick> tick;
  if (timekeeper.needed() || client_ != nullptr) tick.emplace();
  while (!engine_.stopping()) {
    if (client_ != nullptr && handoff_ == nullptr && IsBehind()) FollowClient();
    if (MayLeave() && (!held_ || (handoff_ == nullptr && Revoked()))) {
      BeAway();
      continue;
    }
    UserThread* thread = Pass();
    if (thread == nullptr) thread = Idle();
    if (thread != nullptr) RunFromBase(*thread);
  }
  tick.reset();
  timekeeper.Exit(core_);
  // Nobody sends any more; see user_interrupt.h.
  if (preempt_->receiver) preempt::EndUserInterrupts(preempt_->receiver);
  preempt_->receiver = {};
  yamanote_worker = nullptr;
}

void Worker::AddStats(RuntimeStats& stats) const {
  const auto read = [](const Counter& counter) {
    return counter.load(std::memory_order_relaxed);
  };
  // Acquire, and first: the difference is never below 0.
  const uint64_t passes = passes_.load(std::memory_order_acquire);
  stats.switches += read(reschedules_) - passes;
  stats.steals += read(steals_);
  stats.parks += read(parks_);
  stats.yields += read(yields_);
  stats.slices_ended += read(slices_ended_);
  stats.preemptions += read(preemptions_);
  stats.spawned += read(spawned_);
  stats.grants += read(grants_);
}

}  // namespace yamanote::worker
