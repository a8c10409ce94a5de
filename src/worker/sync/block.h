// block.h - what all primitives share of the protocol in worker/wait.h.

#pragma once

#include <mutex>
#include <stop_token>

#include "base/spin_lock.h"
#include "worker/switch.h"
#include "worker/wait.h"

namespace yamanote::worker {

// Wait(), ended by `stop` too: kCancelled.
WaitResult BlockUntil(Waiter& waiter, Instant deadline,
                      const std::stop_token* stop);

// The same; `stop` may be nullptr. Inline for the reason in worker/switch.h.
[[gnu::always_inline]] inline WaitResult Block(Waiter& waiter, Instant deadline,
                                               const std::stop_token* stop) {
  if (stop != nullptr) return BlockUntil(waiter, deadline, stop);
  return deadline == kNever ? WaitForNotifier(waiter) : Wait(waiter, deadline);
}

// Steps 2, 3 and 6 of the protocol. The caller holds `lock` and has put
// `waiter` into `list`; on return `lock` is released and `waiter` is in no
// list.
//
// A notified caller returns only after its notifier let go of `lock`: it may
// destroy what `lock` and `list` are part of.
[[gnu::always_inline]] inline WaitResult BlockInList(
    base::SpinLock& lock, WaitList& list, Waiter& waiter, Instant deadline,
    const std::stop_token* stop) {
  lock.unlock();
  const WaitResult result = Block(waiter, deadline, stop);
  if (result == WaitResult::kNotified) {
    lock.AwaitRelease();
  } else {
    const std::lock_guard guard(lock);
    list.Remove(waiter);
  }
  return result;
}

// Takes waiters out of `list`, oldest first, until one could be notified; those
// that gave up in the same moment are skipped. Returns the notified one, which
// must not be touched any more, as a bool. The list's lock is held.
inline bool NotifyOldest(WaitList& list) {
  while (Waiter* const waiter = list.PopFront()) {
    if (Notify(*waiter)) return true;
  }
  return false;
}

// Notifies all of `list`; returns how many had not given up. Lock held.
inline unsigned NotifyAll(WaitList& list) {
  unsigned notified = 0;
  while (NotifyOldest(list)) ++notified;
  return notified;
}

}  // namespace yamanote::worker
