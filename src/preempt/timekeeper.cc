// timekeeper.cc - one look after all cores.

#include "preempt/timekeeper.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <mutex>

namespace yamanote::preempt {
namespace {

// Without overflow where one is kNoPreemption.
Duration Sum(Duration a, Duration b) {
  return a == kNoPreemption || b == kNoPreemption ? kNoPreemption : a + b;
}

}  // namespace

Timekeeper::Timekeeper(const Cores& cores, const TimekeeperOptions& options)
    : cores_(cores),
      count_(static_cast<unsigned>(options.slices.size())),
      adaptive_(options.adaptive),
      interrupt_after_(options.interrupt_after),
      watchdog_(options.watchdog),
      watched_(new Watched[options.slices.size()]) {
  for (CoreId core = 0; core < count_; ++core) {
    const Duration slice = options.slices[core];
    watched_[core].slice = slice;
    if (slice == kNoPreemption) continue;
    interval_ = std::min(interval_, slice / kLooksPerSlice);
  }
  if (!needed()) next_look_ = INT64_MAX;  // Nobody looks.
}

void Timekeeper::Enter(CoreId core) {
  const std::lock_guard guard(lock_);
  watched_[core].state = &OwnState();
  watched_[core].tid = static_cast<pid_t>(syscall(SYS_gettid));
}

void Timekeeper::Exit(CoreId core) {
  const std::lock_guard guard(lock_);
  watched_[core].state = nullptr;
  OwnState().flag.store(0, std::memory_order_relaxed);
}

// It is asked for the first time, or it was and may run on: its slice is longer than
// the core's least.
void Timekeeper::Answered(Watched& watched, Instant now) const {
  const Duration ran = now - watched.since;
  watched.interrupt_at = Sum(ran + SliceOf(watched), interrupt_after_);
  watched.report_at = watchdog_ == kNoPreemption
                          ? watchdog_
                          : ran + SliceOf(watched) + watchdog_ / 2;
  watched.waited = Duration(-1);
  watched.pause = interrupt_after_;
}

// It was asked, and something still waits.
void Timekeeper::Insist(Watched& watched, Instant now) {
  const Duration ran = now - watched.since;
  if (ran >= watched.interrupt_at) {
    Interrupt(*watched.state, watched.tid, kGiveWay);
    watched.pause = std::min(2 * watched.pause, kLongestPause);
    watched.interrupt_at = ran + watched.pause;
  }
  if (ran >= watched.report_at) Watch(watched, ran, now);
}

// Not a task whose kernel thread others kept from its CPU: looked at twice.
void Timekeeper::Watch(Watched& watched, Duration ran, Instant now) {
  const Duration waited = WaitedForCpu(watched.tid);
  const bool ran_since = watched.waited >= Duration::zero() &&
                         waited - watched.waited < watchdog_ / 8;
  watched.waited = waited;
  watched.report_at = ran + watchdog_ / 2;
  if (!ran_since) return;
  watched.report_at = kNoPreemption;  // Once.
  held_off_.fetch_add(1, std::memory_order_relaxed);
  if (now < next_report_) return;  // Another one's stack was just written.
  next_report_ = now + kReportPause;
  Interrupt(*watched.state, watched.tid, kReport);
}

void Timekeeper::Look(Instant now) {
  // One keeper suffices; the others have something else to do.
  if (!lock_.try_lock()) return;
  if (adaptive_ != nullptr) adaptive_->Adapt(now);
  for (CoreId core = 0; core < count_; ++core) {
    Watched& watched = watched_[core];
    if (watched.state == nullptr || watched.slice == kNoPreemption) continue;
    const uint64_t progress = cores_.Progress(core);
    if (progress != watched.progress) {
      watched.progress = progress;
      watched.since = watched.asked = now;
    } else if (now - watched.asked >= SliceOf(watched) && cores_.Waits(core)) {
      const bool answered =
          watched.asked == watched.since ||
          watched.state->flag.load(std::memory_order_relaxed) == 0;
      Ask(*watched.state, {.progress = progress, .ran = now - watched.since});
      watched.asked = now;
      if (answered) {
        Answered(watched, now);
      } else {
        Insist(watched, now);
      }
    }
  }
  looker_.store(&OwnState(), std::memory_order_relaxed);
  next_look_.store((now + Interval()).time_since_epoch().count(),
                   std::memory_order_relaxed);
  lock_.unlock();
}

}  // namespace yamanote::preempt
