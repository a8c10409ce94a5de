// condition_variable.h - waiting until a condition that a Mutex guards holds.
//
//   std::unique_lock lock(mutex);  // The consumer.
//   condition.wait(lock, [&] { return !queue.empty(); });
//
//   { std::lock_guard lock(mutex); queue.push(item); }  // The producer.
//   condition.notify_one();
//
// Waiters are woken in the order in which they began to wait; wake-ups are not
// remembered. There are no spurious wake-ups of the plain wait(), yet use the
// forms with a predicate: between notify and the return from wait() other
// threads may have taken the mutex and changed the condition.
//
// Memory ordering: none of its own; the mutex orders what the condition reads.
// A notify_*() misses no thread whose wait() released the mutex before the
// notifier changed the condition under that mutex, whether the notifier still
// holds it or not. Notifying while nobody waits costs one load.
//
// A woken thread takes the mutex anew, like any other (see mutex.h). Notifying
// under the mutex is no loss on one core: the woken thread runs later anyway.
//
// Lifetime: may be destroyed once no thread blocks on it any more, even if some
// are still on their way out of wait().
//
// Works with std::unique_lock<yamanote::Mutex>. Any thread, user or kernel.

#pragma once

#include <atomic>
#include <condition_variable>  // std::cv_status
#include <cstdint>
#include <mutex>
#include <stop_token>
#include <utility>

#include "yamanote/detail/wait_list.h"
#include "yamanote/mutex.h"
#include "yamanote/stop.h"
#include "yamanote/time.h"

namespace yamanote {

class ConditionVariable {
 public:
  using Lock = std::unique_lock<Mutex>;

  constexpr ConditionVariable() = default;
  ConditionVariable(const ConditionVariable&) = delete;
  ConditionVariable& operator=(const ConditionVariable&) = delete;

  // Wakes the thread that waits longest. Any thread.
  void notify_one() {
    // Relaxed: the caller's use of the mutex orders it; see the file comment.
    if (waiting_.load(std::memory_order_relaxed)) NotifyOneSlow();
  }

  // Wakes all threads that wait now. Any thread.
  void notify_all() {
    // Relaxed: as in notify_one().
    if (waiting_.load(std::memory_order_relaxed)) NotifyAllSlow();
  }

  // All of these release the mutex while they wait, and return (or throw what
  // `predicate` threw) with the mutex taken. Require: `lock` owns its mutex,
  // else they abort. A deadline or a stop token ends the waiting, but not the
  // taking of the mutex afterwards, which may take longer.

  void wait(Lock& lock) { Wait(lock, kNever, nullptr); }

  template <typename Predicate>
  void wait(Lock& lock, Predicate predicate) {
    while (!predicate()) Wait(lock, kNever, nullptr);
  }

  // Returns cv_status::timeout if the deadline passed before a notification.
  std::cv_status wait_until(Lock& lock, Instant deadline) {
    return Wait(lock, deadline, nullptr) ? std::cv_status::no_timeout
                                         : std::cv_status::timeout;
  }
  std::cv_status wait_for(Lock& lock, Duration timeout) {
    return wait_until(lock, DeadlineIn(timeout));
  }

  // Return what `predicate` said last: false only if the waiting was ended.
  template <typename Predicate>
  bool wait_until(Lock& lock, Instant deadline, Predicate predicate) {
    while (!predicate()) {
      if (!Wait(lock, deadline, nullptr)) return predicate();
    }
    return true;
  }
  template <typename Predicate>
  bool wait_for(Lock& lock, Duration timeout, Predicate predicate) {
    return wait_until(lock, DeadlineIn(timeout), std::move(predicate));
  }
  template <typename Predicate>
  bool wait(Lock& lock, const std::stop_token& stop, Predicate predicate) {
    return wait_until(lock, stop, kNever, std::move(predicate));
  }
  template <typename Predicate>
  bool wait_until(Lock& lock, const std::stop_token& stop, Instant deadline,
                  Predicate predicate) {
    while (!predicate()) {
      if (!Wait(lock, deadline, &stop)) return predicate();
    }
    return true;
  }
  template <typename Predicate>
  bool wait_for(Lock& lock, const std::stop_token& stop, Duration timeout,
                Predicate predicate) {
    return wait_until(lock, stop, DeadlineIn(timeout), std::move(predicate));
  }

 private:
  // Returns false if the deadline or the token ended the wait.
  bool Wait(Lock& lock, Instant deadline, const std::stop_token* stop);
  void NotifyOneSlow();
  void NotifyAllSlow();

  // waiters_ is not empty. Written under lock_, read without.
  std::atomic<bool> waiting_{false};
  base::SpinLock lock_;
  worker::WaitList waiters_;  // Guarded by lock_.
};

}  // namespace yamanote
