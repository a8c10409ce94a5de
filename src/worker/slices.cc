// slices.cc - how a worker's tasks end their slices: at a probe, at a voluntary point,
// at the kernel's tick. Who keeps time is the preempt room's (timekeeper.h).

#include <algorithm>

#include "preempt/probe.h"
#include "preempt/user_interrupt.h"
#include "worker/engine.h"
#include "worker/switch.h"
#include "worker/worker.h"

namespace yamanote::worker {

Duration Worker::SliceOf(const UserThread& thread) const {
  Duration slice = placement_.Slice(thread, core_);
  if (adaptive_ != nullptr) slice = std::max(slice, adaptive_->current());
  if (slice != kNoPreemption && Crowded()) slice *= kCrowdedFactor;
  return slice;
}

bool Worker::Crowded() const {
  if (preempted_.load(std::memory_order_relaxed) < kCrowd) return false;
  // A thief counts down what its victim counted up.
  int64_t all = 0;
  for (CoreId core = 0; core < engine_.cores(); ++core)
    all += engine_.worker(core).preempted_.load(std::memory_order_relaxed);
  return all >= kCrowd * engine_.cores();
}

void Worker::CountPreempted(int64_t change) {
  preempted_.store(preempted_.load(std::memory_order_relaxed) + change,
                   std::memory_order_relaxed);
}

void Worker::Preempt(Worker* worker) {
  Bump(worker->yields_);
  Bump(worker->slices_ended_);
  worker->CountPreempted(1);
  GiveWay(worker, Wake::kPreempted);
  This()->CountPreempted(-1);
}

void Worker::StartSlice(Instant now) {
  const Duration slice = SliceOf(*current_);
  slice_end_ = slice == kNoPreemption ? kNever : now + slice;
}

bool Worker::CheckPreempt() {
  Worker* const worker = This();
  if (worker == nullptr || worker->quantum_ == kNoPreemption ||
      worker->current_ == nullptr)
    return false;
  const Instant now = Clock::now();
  if (now < worker->slice_end_) return false;
  if (worker->slice_end_ == kSliceNotStarted) {
    worker->StartSlice(now);
    return false;
  }
  if (!worker->placement_.HasWork(worker->core_)) {
    // Nothing waits. What has arrived meanwhile is seen by a pass; the slice
    // starts anew so that this costs a look per slice, not one per check.
    worker->StartSlice(now);
    if (now - worker->last_pass_ < kLookInterval) return false;
    worker->WantPass();
  }
  Preempt(worker);
  return true;
}

void Worker::AtProbe() {
  Worker* const worker = This();
  if (worker == nullptr) {  // A kernel thread that was a worker's child.
    preempt::Answer(preempt::OwnState());
    return;
  }
  if (worker->keeps_time_) {
    AtKeepersProbe(worker);
    return;
  }
  const preempt::Request request = preempt::Answer(*worker->preempt_);
  // Late: it was meant for the task before. Or for code that runs on the base.
  if (worker->current_ == nullptr ||
      request.progress != worker->own_reschedules_)
    return;
  dispatch::Placement& placement = worker->placement_;
  // Longer than the least: whoever keeps time asks again after as long.
  const Duration slice = worker->SliceOf(*worker->current_);
  if (slice != worker->quantum_ && request.ran < slice) return;
  // Nothing waits that is known of: what arrived meanwhile is seen by a pass.
  if (!placement.HasWork(worker->core_)) {
    if (Clock::now() - worker->last_pass_ < kLookInterval) return;
    worker->WantPass();
  }
  Bump(worker->preemptions_);
  Preempt(worker);
}

// Nobody keeps time for a core that keeps it for the others, so its tasks' probes
// read the clock: each is asked. Source: Iyer et al., "Achieving Microsecond-Scale
// Tail Latency Efficiently with Approximate Optimal Scheduling" (Concord), SOSP
// 2023, section 3.3: the dispatcher runs requests that read the time-stamp counter.
void Worker::AtKeepersProbe(Worker* worker) {
  preempt::Answer(*worker->preempt_);
  if (worker->current_ == nullptr) return;  // Code that runs on the base.
  worker->engine_.timekeeper().Keep(Clock::now());
  if (CheckPreempt()) {
    Bump(This()->preemptions_);  // Perhaps another one by now.
  } else {
    worker->AskItself();
  }
}

// A user interrupt saves no vector registers.
YAMANOTE_GENERAL_REGISTERS preempt::RunningTask Worker::CurrentTask() {
  const Worker* const worker = This();
  const UserThread* const thread =
      worker == nullptr ? nullptr : worker->current_;
  if (thread == nullptr || thread->stack == nullptr) return {};
  return {.name = thread->name,
          .id = thread->id,
          .stack_bottom = reinterpret_cast<uintptr_t>(thread->stack->bottom)};
}

// From a signal's handler, wherever the thread stands.
void Worker::AtTick() {
  Worker* const worker = This();
  if (worker == nullptr) return;
  worker->engine_.timekeeper().Keep(Clock::now());
  // All others sleep: one of them keeps time from now on.
  if (worker->placement_.HasWork(worker->core_))
    worker->engine_.parking().Notify({dispatch::Notify::kAnyone, kNoCore});
}

}  // namespace yamanote::worker
