// mutex.cc - the slow paths of Mutex; RecursiveMutex.
//
// Protocol (state bits in the header; "queue" is waiters_ under queue_lock_):
//
//   locker that found it locked        unlocker that saw kWaiters
//   L1 lock the queue                  U1 kWaking set: clear kLocked, done
//   L2 free now? take it, done         U2 lock the queue
//   L3 set kWaiters, enter the queue   U3 notify the oldest waiter
//   L4 unlock the queue, block         U4a it tries: set kWaking, clear kLocked
//   L5 notified: owner? done           U4b it was woken in vain 3 times: keep
//      else L1, clearing kWaking in        kLocked, it is the owner
//      L2 or L3, at the queue's front  U5 unlock the queue
//
// No wake-up is lost: kWaiters is set (L3) before the locker blocks, in the
// same critical section of the queue and only while kLocked is set, so that the
// holder's fast unlock fails and U2 finds the waiter. While kWaking is set some
// locker is between L5 and L2; it takes the mutex or leaves kWaiters behind.
//
// While the queue is locked and kLocked is set, nobody else writes state_: fast
// paths need kLocked clear, the holder's unlock() is the one in U2. That is why
// U4 is a plain store.

#include "yamanote/mutex.h"

#include <mutex>

#include "base/check.h"
#include "worker/sync/block.h"
#include "worker/sync/caller.h"

namespace yamanote {
namespace {

using worker::Waiter;
using worker::WaitResult;

// Waiter::tag: what the unlocker shall do, and what it did.
constexpr uintptr_t kTry = 0;
constexpr uintptr_t kWantsHandOff = 1;
constexpr uintptr_t kIsOwner = 2;

}  // namespace

// L2 and L3's mark. Takes the mutex if it is free, else sets kWaiters; clears
// the bits `clear` in the same step. Returns whether it took it.
bool Mutex::TakeOrMark(uint32_t clear) {
  uint32_t state = state_.load(std::memory_order_relaxed);
  for (;;) {
    const bool free = (state & kLocked) == 0;
    const uint32_t next = (state | (free ? kLocked : kWaiters)) & ~clear;
    // Acquire: pairs with the release in unlock() and UnlockSlow().
    if (state_.compare_exchange_weak(state, next, std::memory_order_acquire,
                                     std::memory_order_relaxed)) {
      return free;
    }
  }
}

bool Mutex::LockSlow(Instant deadline, const std::stop_token* stop) {
  for (unsigned attempts = 0;; ++attempts) {
    queue_lock_.lock();
    if (TakeOrMark(attempts == 0 ? 0 : kWaking)) {
      queue_lock_.unlock();
      return true;
    }
    Waiter waiter(worker::EndsOf(deadline, stop));
    waiter.tag = attempts < kAttempts ? kTry : kWantsHandOff;
    if (attempts == 0) {
      waiters_.PushBack(waiter);
    } else {
      waiters_.PushFront(waiter);
    }
    queue_lock_.unlock();
    if (worker::Block(waiter, deadline, stop) == WaitResult::kNotified) {
      if (waiter.tag != kIsOwner) continue;
      queue_lock_.AwaitRelease();  // The caller may destroy the mutex.
      return true;
    }
    const std::lock_guard guard(queue_lock_);
    waiters_.Remove(waiter);
    // Relaxed: only the bit matters, and queue_lock_ orders it.
    if (waiters_.Empty())
      state_.fetch_and(~kWaiters, std::memory_order_relaxed);
    return false;
  }
}

void Mutex::UnlockSlow() {
  for (;;) {
    uint32_t state = state_.load(std::memory_order_relaxed);
    YAMANOTE_CHECK((state & kLocked) != 0,
                   "unlock() of a Mutex that nobody holds; lock() it first");
    while ((state & kWaiters) == 0 || (state & kWaking) != 0) {  // U1
      // Release: pairs with the acquire in TryFast() and TakeOrMark().
      if (state_.compare_exchange_weak(state, state & ~kLocked,
                                       std::memory_order_release,
                                       std::memory_order_relaxed)) {
        return;
      }
    }
    queue_lock_.lock();
    Waiter* waiter = nullptr;
    bool hand_off = false;
    while ((waiter = waiters_.PopFront()) != nullptr) {  // U3
      hand_off = waiter->tag == kWantsHandOff;
      if (hand_off) waiter->tag = kIsOwner;
      if (Notify(*waiter)) break;
    }
    const uint32_t still = waiters_.Empty() ? 0 : kWaiters;
    if (waiter == nullptr) {
      // All gave up. Once kLocked is clear, nobody who waits keeps the mutex
      // alive: let go of the queue first, then start over with U1.
      state_.store(kLocked, std::memory_order_relaxed);
      queue_lock_.unlock();
      continue;
    }
    // U4. Release: pairs with the acquire in TryFast() and TakeOrMark().
    state_.store(still | (hand_off ? kLocked : kWaking),
                 std::memory_order_release);
    queue_lock_.unlock();
    return;
  }
}

bool RecursiveMutex::Reenter(uintptr_t self) {
  if (owner_.load(std::memory_order_relaxed) != self) return false;
  YAMANOTE_CHECK(depth_ != UINT32_MAX,
                 "a RecursiveMutex is locked 2^32 - 1 times; unlock it");
  ++depth_;
  return true;
}

void RecursiveMutex::Enter(uintptr_t self) {
  owner_.store(self, std::memory_order_relaxed);
  depth_ = 1;
}

void RecursiveMutex::lock() {
  const uintptr_t self = worker::CallerId();
  if (Reenter(self)) return;
  mutex_.lock();
  Enter(self);
}

bool RecursiveMutex::try_lock() {
  const uintptr_t self = worker::CallerId();
  if (Reenter(self)) return true;
  if (!mutex_.try_lock()) return false;
  Enter(self);
  return true;
}

bool RecursiveMutex::lock(const std::stop_token& stop) {
  return try_lock_until(stop, kNever);
}

bool RecursiveMutex::try_lock_until(Instant deadline) {
  const uintptr_t self = worker::CallerId();
  if (Reenter(self)) return true;
  if (!mutex_.try_lock_until(deadline)) return false;
  Enter(self);
  return true;
}

bool RecursiveMutex::try_lock_until(const std::stop_token& stop,
                                    Instant deadline) {
  const uintptr_t self = worker::CallerId();
  if (Reenter(self)) return true;
  if (!mutex_.try_lock_until(stop, deadline)) return false;
  Enter(self);
  return true;
}

void RecursiveMutex::unlock() {
  YAMANOTE_CHECK(
      owner_.load(std::memory_order_relaxed) == worker::CallerId(),
      "unlock() of a RecursiveMutex by a thread that does not hold it");
  if (--depth_ != 0) return;
  owner_.store(0, std::memory_order_relaxed);
  mutex_.unlock();
}

}  // namespace yamanote
