// stackless.cc - the list, and the timer that empties it.

#include "worker/stackless.h"

#include <mutex>
#include <utility>

#include "worker/engine.h"

namespace yamanote::worker {

void Stackless::Add(UserThread& thread) {
  thread.next_free = nullptr;
  bool waits;
  {
    const std::lock_guard guard(lock_);
    (first_ == nullptr ? first_ : last_->next_free) = &thread;
    last_ = &thread;
    refused_.store(true, std::memory_order_relaxed);
    waits = std::exchange(waits_, true);
  }
  if (!waits) RetryLater();
}

void Stackless::RetryLater() {
  const Instant when = Clock::now() + kRetryAfter;
  if (timers_.Add(timer_, when)) engine_.parking().NotifyTimer(when);
}

void Stackless::Retry() {
  UserThread* runnable;
  bool waits;
  {
    const std::lock_guard guard(lock_);
    size_t most =
        refused_.exchange(false, std::memory_order_relaxed) ? 1 : kMostAtOnce;
    runnable = first_;
    UserThread* end = nullptr;
    for (; first_ != nullptr && most > 0; --most) {
      end = first_;
      first_ = first_->next_free;
    }
    if (end != nullptr) end->next_free = nullptr;
    waits = waits_ = first_ != nullptr;
  }
  if (waits) RetryLater();
  while (runnable != nullptr) {
    // It may run, and end, at once.
    UserThread* const thread = runnable;
    runnable = thread->next_free;
    engine_.Resume(*thread);
  }
}

}  // namespace yamanote::worker
