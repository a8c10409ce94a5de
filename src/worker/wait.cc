// wait.cc - blocking and waking, for user threads and for kernel threads.

#include "worker/wait.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <ctime>

#include "base/check.h"
#include "worker/switch.h"

namespace yamanote::worker {
namespace {

constexpr uint32_t kPending = static_cast<uint32_t>(WaitResult::kPending);

UserThread* CurrentThread() {
  Worker* const worker = Worker::This();
  return worker == nullptr ? nullptr : worker->current();
}

// Sleeps until `word` is not kPending, or for `duration` (max: no limit).
void FutexWait(std::atomic<uint32_t>& word, Duration duration) {
  timespec limit;
  limit.tv_sec = duration.count() / 1'000'000'000;
  limit.tv_nsec = duration.count() % 1'000'000'000;
  syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, kPending,
          duration == Duration::max() ? nullptr : &limit, nullptr, 0);
}

}  // namespace

Waiter::Waiter(Ends ends) : thread_(CurrentThread()), ends_(ends) {
  if (thread_ != nullptr)
    thread_->stop_reported.store(false, std::memory_order_relaxed);
}

WaitResult Wait(Waiter& waiter, Instant deadline) {
  // Instant::min() means "try"; less the time of day it would overflow.
  if (deadline < Instant{}) deadline = Instant{};
  if (waiter.thread_ == nullptr) {
    CheckQuiescent();
    while (waiter.result() == WaitResult::kPending) {
      // Compared first: the difference to a far past would overflow.
      const Instant now = deadline == kNever ? Instant{} : Clock::now();
      const Duration left = deadline == kNever ? Duration::max()
                            : deadline <= now  ? Duration::zero()
                                               : deadline - now;
      if (left == Duration::zero()) {
        Notify(waiter, WaitResult::kTimedOut);
      } else {
        FutexWait(waiter.result_, left);
      }
    }
    return waiter.result();
  }
  if (deadline == kNever) return WaitForNotifier(waiter);
  Worker* const worker = Worker::This();
  // A deadline that has passed goes the same way: whoever wins Notify() makes
  // the thread runnable, and Block() is where it takes that back.
  Timer timer(
      [](void* late) {
        Notify(*static_cast<Waiter*>(late), WaitResult::kTimedOut);
      },
      &waiter);
  TimerQueue& timers = worker->timers();
  if (timers.Add(timer, deadline))
    worker->engine().parking().NotifyTimer(deadline);
  Worker::Block(worker);
  timers.Cancel(timer);
  return waiter.result();
}

bool Notify(Waiter& waiter, WaitResult result) {
  // Read first: the moment the result is set, a kernel thread may return from
  // Wait() and take the waiter away.
  UserThread* const thread = waiter.thread_;
  uint32_t expected = kPending;
  if (waiter.ends_ == Waiter::Ends::kByNotifier) {
    // A compare-exchange costs 12 ns on a 4-vCPU Intel VM (2026-11-21).
    YAMANOTE_CHECK(waiter.result_.load(std::memory_order_relaxed) == kPending,
                   "a wait that one notifier ends was ended twice");
    waiter.result_.store(static_cast<uint32_t>(result),
                         std::memory_order_release);
  } else if (!waiter.result_.compare_exchange_strong(
                 expected, static_cast<uint32_t>(result),
                 std::memory_order_acq_rel)) {
    return false;
  }
  if (thread != nullptr) {
    Engine::Current()->Resume(*thread);
  } else {
    // The address may be gone already: a wake-up of nobody, or a spurious one
    // for whoever uses the address now, which every futex user must bear.
    syscall(SYS_futex, &waiter.result_, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr,
            0);
  }
  return true;
}

}  // namespace yamanote::worker
