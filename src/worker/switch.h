// switch.h - how a thread leaves its core to the next one: the hot path,
// inline.
//
// Inline into what blocks, because of returns: a processor predicts a return by
// the call it saw last, and after a switch that was another thread's. Each
// frame between a user's call and the switch costs a misprediction, 5 ns, when
// the thread goes on; join() had four of them (2-vCPU AMD VM, 2026-11-25).

#pragma once

#include <utility>

#include "worker/engine.h"
#include "worker/sync/rcu_section.h"
#include "worker/wait.h"
#include "worker/worker.h"

namespace yamanote::worker {

[[gnu::always_inline]] inline void Worker::Stopping(UserThread& thread,
                                                    Stop why) {
  CheckQuiescent();
  if (!observes_stops_ && !wants_run_time_) return;
  Duration ran{0};
  if (wants_run_time_) {
    // Once: the switch counts for who comes next, unless a pass comes in between.
    const Instant now = Clock::now();
    ran = now - std::exchange(run_start_, now);
    thread.attained += ran;
  }
  if (observes_stops_) placement_.OnStop(thread, core_, why, ran);
  if (why == Stop::kBlocked) {
    thread.stop_reported.store(true, std::memory_order_release);
  }
}

[[gnu::always_inline]] inline void Worker::Entering(UserThread& thread) {
  current_ = &thread;
  thread.last_core = core_;
  Reschedule();
  // A slice starts at the first CheckPreempt(), not here: reading the clock at
  // every switch would cost those who never check as much as the switch (18 ns
  // on a 4-vCPU Intel VM, 2026-11-21), and who checks does so every
  // microsecond.
  slice_end_ = kSliceNotStarted;
  tick_asks_.store(false, std::memory_order_relaxed);
  if (AsksItself()) [[unlikely]]
    BeginAsking();
}

[[gnu::always_inline]] inline bool Worker::AttachStack(UserThread& thread) {
  if (stacks_.Empty() && stackless_.Refused()) [[unlikely]]
    return false;
  Stack* const stack = stacks_.Take();
  if (stack == nullptr) return false;
  sanitizer::ResetStack(stack->bottom,
                        static_cast<size_t>(stack->top - stack->bottom));
  sanitizer::CreateFiber(stack->fiber);
  stack->touched = true;
  thread.stack = stack;
  return true;
}

// Leaves none behind: who runs next starts without, or restores its own. Nearly
// always there is none, and then nothing is written.
[[gnu::always_inline]] inline Carried Worker::TakeCarried() {
  const Carried carried{.exceptions = {.caught = exceptions_->caught,
                                       .uncaught = exceptions_->uncaught},
                        .guard = preempt_->guard,
                        .disabled = preempt_->disabled};
  if (carried.Any()) [[unlikely]] {
    PutCarried({});
    if (carried.disabled >= preempt::kOneLock) WarnOfHeldLock();
  }
  return carried;
}

inline void Worker::PutCarried(const Carried& carried) {
  *exceptions_ = carried.exceptions;
  preempt_->guard = carried.guard;
  preempt_->disabled = carried.disabled;
}

[[gnu::always_inline]] inline void Worker::SwitchToThread(UserThread& from,
                                                          UserThread& to) {
  const bool fresh = to.stack == nullptr;
  if (fresh && !AttachStack(to)) {
    handoff_ = &to;
    SwitchToBase(from);
    return;
  }
  // Kept on the stack that is left: another core may take the thread over as
  // soon as the switch has published it, and then restores this there.
  const Carried carried = TakeCarried();
  Entering(to);
  Stack& stack = *to.stack;
  sanitizer::StartSwitch(&from.saved, &from.stack->fiber, &stack.fiber,
                         base_fiber_, stack.bottom,
                         static_cast<size_t>(stack.top - stack.bottom));
  void* resumer;
  if (fresh) {
    resumer = YamanoteStart(&from.context, stack.top, &StackMain, &to);
  } else {
    resumer = YamanoteSwitch(&from.context, &to.context, this, &base_);
  }
  sanitizer::FinishSwitch(&from.saved);
  if (carried.Any()) [[unlikely]] {
    static_cast<Worker*>(resumer)->PutCarried(carried);
  }
}

[[gnu::always_inline]] inline UserThread* Worker::PickSuccessor() {
  if (PassDue()) return nullptr;
  return static_cast<UserThread*>(placement_.PickNext(core_, Now()));
}

[[gnu::always_inline]] inline void Worker::Block(Worker* worker) {
  UserThread& thread = *worker->current_;
  thread.gave_way = false;
  worker->Stopping(thread, Stop::kBlocked);
  UserThread* const next = worker->PickSuccessor();
  if (next == &thread) {
    worker->Entering(thread);  // It was resumed before it had left.
  } else if (next == nullptr) {
    worker->SwitchToBase(thread);
  } else {
    worker->SwitchToThread(thread, *next);
  }
}

[[gnu::always_inline]] inline WaitResult WaitForNotifier(Waiter& waiter) {
  if (waiter.thread_ == nullptr) return Wait(waiter);
  Worker::Block(Worker::This());
  return waiter.result();
}

}  // namespace yamanote::worker
