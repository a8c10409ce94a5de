// wait.h - how a thread waits for something and is told that it happened.
//
// Everything that blocks is built on this: mutexes, timers, sockets, joins. It
// works on user threads (which leave their core to others) and on plain kernel
// threads (which sleep on a futex), so primitives may be shared between both.
//
// The protocol of a primitive with a lock and a list of waiters:
//
//   waiter                                notifier
//   1. lock; put Waiter in the list
//   2. unlock
//   3. Wait(waiter, deadline)             4. lock; take Waiter out of the list
//                                         5. Notify(waiter, kNotified); unlock
//   6. result kNotified: it is out of the list already
//      otherwise: lock; take it out of the list (WaitList::Remove: a notifier
//      that lost may have done so); unlock
//
// Exactly one Notify() (or the deadline, or the stop token) wins; the losers
// return false and touch nothing afterwards. A notifier must hold the lock that
// guards the list from 4 to 5: a waiter whose deadline passed takes that lock
// in 6 before its Waiter, which is on its stack, goes away.

#pragma once

#include <atomic>
#include <cstdint>

#include "yamanote/detail/wait_list.h"
#include "yamanote/time.h"

namespace yamanote::worker {

class UserThread;

enum class WaitResult : uint32_t {
  kPending,
  kNotified,
  kTimedOut,
  kCancelled,
};

// One wait of one thread; lives on its stack. The links belong to the list that
// it is in, guarded by that list's lock.
class Waiter {
 public:
  // Whether anything but the primitive's own notifier may end the wait.
  enum class Ends : uint8_t {
    kRaced,       // Also a deadline, a stop token or a second notifier.
    kByNotifier,  // One notifier, once. Then no compare-exchange is needed.
  };

  // For the calling thread.
  explicit Waiter(Ends ends = Ends::kRaced);
  Waiter(const Waiter&) = delete;
  Waiter& operator=(const Waiter&) = delete;

  Waiter* next = nullptr;
  Waiter* previous = nullptr;
  bool listed = false;  // In a list. Only WaitList writes it.
  uintptr_t tag = 0;  // For the primitive's own use (reader or writer, count).

 private:
  friend WaitResult Wait(Waiter& waiter, Instant deadline);
  friend WaitResult WaitForNotifier(Waiter& waiter);
  friend bool Notify(Waiter& waiter, WaitResult result);

  WaitResult result() const {
    return static_cast<WaitResult>(result_.load(std::memory_order_acquire));
  }

  UserThread* const thread_;  // nullptr: a plain kernel thread.
  const Ends ends_;
  // Release in Notify() pairs with acquire in result().
  std::atomic<uint32_t> result_{static_cast<uint32_t>(WaitResult::kPending)};
};

// How a wait with this deadline and stop token (nullptr: none) may end.
inline Waiter::Ends EndsOf(Instant deadline, const void* stop) {
  return deadline == kNever && stop == nullptr ? Waiter::Ends::kByNotifier
                                               : Waiter::Ends::kRaced;
}

// Blocks the calling thread until Notify(waiter) or until `deadline`, which is
// kNever for a Waiter that ends kByNotifier.
WaitResult Wait(Waiter& waiter, Instant deadline = kNever);

// As Wait() without a deadline; inline, in worker/switch.h.
WaitResult WaitForNotifier(Waiter& waiter);

// Ends the wait with `result` and makes the thread runnable. Returns false if
// it had ended already. Any thread but the waiter's own, which is not waiting
// yet. See the protocol for what must be held.
bool Notify(Waiter& waiter, WaitResult result = WaitResult::kNotified);

// WaitList's operations; the class is in yamanote/detail/wait_list.h, because
// public primitives embed it.

inline void WaitList::PushBack(Waiter& waiter) {
  waiter.next = nullptr;
  waiter.previous = tail_;
  waiter.listed = true;
  (tail_ == nullptr ? head_ : tail_->next) = &waiter;
  tail_ = &waiter;
}

inline void WaitList::PushFront(Waiter& waiter) {
  waiter.previous = nullptr;
  waiter.next = head_;
  waiter.listed = true;
  (head_ == nullptr ? tail_ : head_->previous) = &waiter;
  head_ = &waiter;
}

inline void WaitList::Remove(Waiter& waiter) {
  if (!waiter.listed) return;
  (waiter.previous == nullptr ? head_ : waiter.previous->next) = waiter.next;
  (waiter.next == nullptr ? tail_ : waiter.next->previous) = waiter.previous;
  waiter.next = waiter.previous = nullptr;
  waiter.listed = false;
}

inline Waiter* WaitList::PopFront() {
  Waiter* const waiter = head_;
  if (waiter != nullptr) Remove(*waiter);
  return waiter;
}

}  // namespace yamanote::worker
