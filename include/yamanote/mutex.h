// mutex.h - mutual exclusion: Mutex (timed too) and RecursiveMutex.
//
//   yamanote::Mutex mutex;
//   std::lock_guard lock(mutex);
//
// A thread that has to wait leaves its core to others. User threads and plain
// kernel threads may share one mutex. It may be unlocked on another core than
// the one that locked it, but by the same thread. A critical section may block.
//
// Memory ordering: everything before unlock() happens before everything after
// the lock(), or successful try_lock(), that follows it.
//
// Fairness: a thread that finds the mutex free takes it, past the waiters
// (barging): handing it over at each unlock would cost a context switch per
// critical section. A waiter that was woken in vain kAttempts times (3) is
// handed the mutex by the next unlock(), and it stays first in the queue
// meanwhile; so a waiter with n before it waits for at most 4(n+1) critical
// sections.
//
// Waiting: no spinning before the wait. The holder is often a thread of the
// same core that can't go on while the waiter spins, and an idle worker spins
// anyway.
//
// Lifetime: a thread that locks the mutex last may destroy it right after its
// unlock(), even though another thread's earlier unlock() has not returned yet.
//
// Satisfies Lockable and TimedLockable: std::lock_guard, std::unique_lock,
// std::scoped_lock and std::lock work.

#pragma once

#include <atomic>
#include <cstdint>
#include <stop_token>

#include "yamanote/detail/wait_list.h"
#include "yamanote/stop.h"
#include "yamanote/time.h"

namespace yamanote {

class Mutex {
 public:
  constexpr Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  // Waits until the mutex is free and takes it. Requires: the caller does not
  // hold it (it would wait forever). Any thread.
  void lock() {
    if (!TryFast()) LockSlow(kNever, nullptr);
  }

  // Takes the mutex if it is free; returns whether it did. Never spuriously
  // false. Any thread.
  bool try_lock() {
    uint32_t state = state_.load(std::memory_order_relaxed);
    while ((state & kLocked) == 0) {
      // Acquire: pairs with the release in unlock().
      if (state_.compare_exchange_weak(state, state | kLocked,
                                       std::memory_order_acquire,
                                       std::memory_order_relaxed)) {
        return true;
      }
    }
    return false;
  }

  // As lock(), but gives up (see stop.h); returns whether it took the mutex.
  bool lock(const std::stop_token& stop) {
    return TryFast() || LockSlow(kNever, &stop);
  }
  bool try_lock_until(Instant deadline) {
    return TryFast() || LockSlow(deadline, nullptr);
  }
  bool try_lock_until(const std::stop_token& stop, Instant deadline) {
    return TryFast() || LockSlow(deadline, &stop);
  }
  bool try_lock_for(Duration timeout) {
    return TryFast() || LockSlow(DeadlineIn(timeout), nullptr);
  }

  // Gives the mutex back. Requires: the caller holds it; aborts where it can
  // see that nobody does.
  void unlock() {
    uint32_t expected = kLocked;
    // Release: pairs with the acquire in TryFast(), try_lock() and
    // TakeOrMark().
    if (!state_.compare_exchange_strong(expected, 0, std::memory_order_release,
                                        std::memory_order_relaxed))
        [[unlikely]] {
      UnlockSlow();
    }
  }

 private:
  // The bits of state_, and who may change them:
  //   kLocked   anybody sets it; the holder clears it
  //   kWaiters  waiters_ is not empty; changed under queue_lock_ only
  //   kWaking   a woken waiter has not tried yet, so unlock() wakes no other;
  //             changed under queue_lock_ only
  static constexpr uint32_t kLocked = 1;
  static constexpr uint32_t kWaiters = 2;
  static constexpr uint32_t kWaking = 4;

  static constexpr unsigned kAttempts = 3;

  bool TryFast() {
    uint32_t expected = 0;
    // Acquire: pairs with the release in unlock().
    return state_.compare_exchange_strong(expected, kLocked,
                                          std::memory_order_acquire,
                                          std::memory_order_relaxed);
  }

  bool LockSlow(Instant deadline, const std::stop_token* stop);
  bool TakeOrMark(uint32_t clear);
  void UnlockSlow();

  std::atomic<uint32_t> state_{0};
  base::SpinLock queue_lock_;
  worker::WaitList waiters_;  // Guarded by queue_lock_.
};

// Mutex has the timed calls; the name is here for those who look for it.
using TimedMutex = Mutex;

// A mutex that its holder may lock again; free after as many unlock() calls.
// Everything else is as with Mutex. Costs half as much again where nobody
// contends: it looks up who calls.
class RecursiveMutex {
 public:
  constexpr RecursiveMutex() = default;
  RecursiveMutex(const RecursiveMutex&) = delete;
  RecursiveMutex& operator=(const RecursiveMutex&) = delete;

  // As Mutex's, except that the holder succeeds at once. Any thread. Aborts at
  // 2^32 - 1 locks held.
  void lock();
  bool try_lock();
  bool lock(const std::stop_token& stop);
  bool try_lock_until(Instant deadline);
  bool try_lock_until(const std::stop_token& stop, Instant deadline);
  bool try_lock_for(Duration timeout) {
    return try_lock_until(DeadlineIn(timeout));
  }

  // Undoes one lock(). Aborts unless the caller holds the mutex.
  void unlock();

 private:
  bool Reenter(uintptr_t self);
  void Enter(uintptr_t self);

  Mutex mutex_;
  // The holder's identity, 0 if there is none. Relaxed throughout: a thread can
  // only read its own identity if it wrote it itself.
  std::atomic<uintptr_t> owner_{0};
  uint32_t depth_ = 0;  // Owned by the holder.
};

using RecursiveTimedMutex = RecursiveMutex;

}  // namespace yamanote
