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

// Between two looks at the clock of a core that asks itself.
Duration Worker::OwnInterval() const {
  const Duration slice = adaptive_ == nullptr
                             ? quantum_
                             : std::max(quantum_, adaptive_->current());
  return slice / kReadsPerSlice;
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
  worker->current_->gave_way = true;
  Bump(worker->yields_);
  Bump(worker->slices_ended_);
  worker->CountPreempted(1);
  // Slices last longer than the stops by which the look at the clock was chosen.
  worker->stops_until_look_ =
      std::min(worker->stops_until_look_, kStopsAfterPreemption);
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
      worker->current_ == nullptr || worker->preempt_->disabled != 0 ||
      preempt::IsGuarded(*worker->preempt_, __builtin_frame_address(0)))
    return false;
  // A task with voluntary points keeps its own time: its probes need not, which cost
  // kv's gets of 500 keys 40% (2-vCPU AMD VM, 2026-11-26).
  worker->current_->checks_itself = true;
  worker->tick_asks_.store(false, std::memory_order_relaxed);
  return CheckSlice(worker, Clock::now());
}

bool Worker::CheckSlice(Worker* worker, Instant now) {
  if (now < worker->slice_end_) return false;
  if (worker->slice_end_ == kSliceNotStarted) {
    worker->StartSlice(now);
    return false;
  }
  if (worker->MayLeave() && worker->Revoked()) {
    worker->WantPass();
  } else if (!worker->placement_.HasOwnWork(worker->core_)) {
    // Nothing waits here. What has arrived meanwhile is seen by a pass; the slice
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
  const preempt::Request request = preempt::Answer(*worker->preempt_);
  if (worker->current_ == nullptr) return;  // Code that runs on the base.
  if (worker->IsOver(request)) {
    Bump(worker->preemptions_);
    Preempt(worker);
  } else if (worker->AsksItself()) {
    AtOwnProbe(worker);
  }
}

// Whether it is the current task's slice that whoever keeps time found over.
bool Worker::IsOver(const preempt::Request& request) {
  // Late: it was meant for the task before.
  if (request.progress != own_reschedules_) return false;
  if (MayLeave() && Revoked()) {
    WantPass();
    return true;
  }
  // Longer than the least: whoever keeps time asks again after as long.
  const Duration slice = SliceOf(*current_);
  if (slice != quantum_ && request.ran < slice) return false;
  // Nothing waits here that is known of: what arrived meanwhile is seen by a pass, and
  // what waits for a core that is stuck.
  if (!placement_.HasOwnWork(core_)) {
    if (Clock::now() - last_pass_ < kLookInterval) return false;
    WantPass();
  }
  return true;
}

// Nobody keeps time for a core that keeps it for the others, nor where all are busy with
// long tasks, so a task's probes read the clock: one in its skips. Source: Iyer et al.,
// "Achieving Microsecond-Scale Tail Latency Efficiently with Approximate Optimal
// Scheduling" (Concord), SOSP 2023, section 3.3: the dispatcher runs requests that read
// the time-stamp counter.
void Worker::AtOwnProbe(Worker* worker) {
  const Instant now = Clock::now();
  UserThread& thread = *worker->current_;
  // If it did, the tick found it too long.
  thread.checks_itself = false;
  const bool first = worker->slice_end_ == kSliceNotStarted;
  if (first) worker->StartSlice(worker->AskedSince(now));
  if (worker->keeps_time_) {
    worker->engine_.timekeeper().Keep(now);
  } else if (worker->slice_end_ == kNever) {
    return;  // Not again in this turn.
  }
  worker->AdaptSkips(now);
  if (first && !thread.gave_way)
    worker->first_skips_ = std::min(thread.skips, kMostFirstSkips);
  worker->cut_ = &thread;
  worker->cut_gave_way_ = thread.gave_way;
  if (CheckSlice(worker, now)) {
    Bump(This()->preemptions_);  // Perhaps another one by now.
    return;
  }
  worker->cut_ = nullptr;
  if (worker->keeps_time_ || worker->StillAsksItself(now)) {
    worker->AskItself();
  } else {
    worker->asks_itself_.store(false, std::memory_order_relaxed);
  }
}

// The current task begins. To let its first probes pass costs 4 ns each, to look at the
// clock at one 0.1 us: so many pass as take a tenth of a slice in others like it.
void Worker::BeginAsking() {
  // The switch to it read the clock, or nobody did.
  const Instant now = wants_run_time_ ? run_start_ : Clock::now();
  // Here and not at the probe that ended a slice: that one returns when its task goes on.
  if (const UserThread* const cut = std::exchange(cut_, nullptr);
      cut != nullptr && cut != current_) {
    asked_in_vain_ = 0;
    if (cut_gave_way_)
      asks_until_.store(std::max(asks_until_.load(std::memory_order_relaxed),
                                 now + kAsksItselfFor),
                        std::memory_order_relaxed);
  }
  ++asked_in_vain_;
  if (!keeps_time_ && !AskingPays(now)) {
    asks_itself_.store(false, std::memory_order_relaxed);
    return;
  }
  if (current_->skips == UserThread::kNeverAsked)
    current_->skips = first_skips_;
  asked_itself_.store(now, std::memory_order_relaxed);
  AskItself();
}

bool Worker::AskingPays(Instant now) const {
  return asked_in_vain_ <= kMostInVain ||
         now <= asks_until_.load(std::memory_order_relaxed);
}

// Since when the current task's probes pass, or are asked.
Instant Worker::AskedSince(Instant now) const {
  const Instant since = asked_itself_.load(std::memory_order_relaxed);
  return since != Instant{} ? since : now - OwnInterval();
}

// Not if tasks are short, or nothing waits for them; nor if somebody keeps time again.
bool Worker::StillAsksItself(Instant now) {
  if (!AskingPays(now)) return false;
  const bool kept =
      engine_.timekeeper().AnotherHasLooked(now - OwnInterval(), *preempt_);
  kept_for_us_ = kept ? kept_for_us_ + 1 : 0;
  return kept_for_us_ < kKeptForUs;
}

// By how long it took from the last probe that was asked to this one.
void Worker::AdaptSkips(Instant now) {
  uint32_t& skips = current_->skips;
  if (skips == UserThread::kNeverAsked) skips = 0;
  const Instant since = asked_itself_.load(std::memory_order_relaxed);
  if (since != Instant{}) {
    const Duration elapsed = now - since;
    const Duration interval = OwnInterval();
    if (elapsed > 4 * interval) {
      skips = 0;
    } else if (elapsed > interval) {
      skips /= 2;
    } else if (elapsed < interval / 2) {
      skips = std::min(2 * skips + 1, kMostSkips);
    }
  }
  asked_itself_.store(now, std::memory_order_relaxed);
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
  preempt::Timekeeper& timekeeper = worker->engine_.timekeeper();
  const Instant now = Clock::now();
  if (worker->MayLeave() && worker->Revoked()) {
    if (worker->current_ == nullptr) {
      // It sleeps on a core that it kept, or is about to: it does not.
      worker->engine_.parking().Notify(
          {dispatch::Notify::kCore, worker->core_});
      return;
    }
    // Not 0: see below.
    worker->preempt_->skips = std::min(worker->preempt_->skips, 1U);
    preempt::Ask(*worker->preempt_, {.progress = worker->own_reschedules_});
    return;
  }
  // A long task makes no pass, where this is asked else. The tick may have come within
  // KickIfNeeded(): one kick more.
  if (worker->client_ != nullptr) worker->KickIfNeeded(now);
  if (!timekeeper.needed()) return;
  // Nobody has looked for longer than a slice, nor has this core made a pass: it has run
  // a task for so long, one without voluntary points, or that has left them behind. Its
  // probes find out whether that pays, until its slice can have ended, which may be a
  // longer one than the least.
  const UserThread* const thread = worker->current_;
  const Duration slice = worker->OwnInterval() * kReadsPerSlice;
  if (thread != nullptr && worker->quantum_ != kNoPreemption &&
      (worker->slice_end_ == kSliceNotStarted ||
       now - slice > worker->slice_end_) &&
      !worker->AsksItself() && !timekeeper.HasLooked(now - slice)) {
    worker->asks_until_.store(now + kSlicesToFindOut * slice,
                              std::memory_order_relaxed);
    worker->asked_itself_.store(Instant{}, std::memory_order_relaxed);
    worker->asks_itself_.store(true, std::memory_order_relaxed);
    worker->tick_asks_.store(true, std::memory_order_relaxed);
    // Not 0: the probe that was interrupted may be about to count one. No more: what is
    // left of the time to find out may be few probes.
    preempt::AskOneself(*worker->preempt_, 1);
  }
  timekeeper.Keep(now);
  // All others sleep: one of them keeps time from now on.
  if (worker->placement_.HasWork(worker->core_))
    worker->engine_.parking().Notify({dispatch::Notify::kAnyone, kNoCore});
}

}  // namespace yamanote::worker
