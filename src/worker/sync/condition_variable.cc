// condition_variable.cc - see the header.
//
// A waiter enters the list before it releases the mutex, so a notifier that
// took the mutex afterwards sees waiting_ set: the mutex's release and acquire
// order the two, which is why waiting_ needs no ordering of its own.
//
// Rejected: moving waiters from here to the mutex's queue instead of waking
// them (wait morphing). It spares a woken thread that finds the mutex taken one
// more block, rare because the notifier's core runs it later; the price is a
// waiter that may be in either of two lists when its deadline passes.

#include "yamanote/condition_variable.h"

#include "base/check.h"
#include "worker/sync/block.h"

namespace yamanote {

using worker::Waiter;
using worker::WaitResult;

bool ConditionVariable::Wait(Lock& lock, Instant deadline,
                             const std::stop_token* stop) {
  YAMANOTE_CHECK(lock.owns_lock(),
                 "a ConditionVariable's wait needs the mutex locked");
  Mutex& mutex = *lock.mutex();
  Waiter waiter(worker::EndsOf(deadline, stop));
  lock_.lock();
  waiters_.PushBack(waiter);
  waiting_.store(true, std::memory_order_relaxed);
  lock_.unlock();
  mutex.unlock();

  const WaitResult result = worker::Block(waiter, deadline, stop);
  if (result == WaitResult::kNotified) {
    lock_.AwaitRelease();
  } else {
    const std::lock_guard guard(lock_);
    waiters_.Remove(waiter);
    waiting_.store(!waiters_.Empty(), std::memory_order_relaxed);
  }
  mutex.lock();
  return result == WaitResult::kNotified;
}

void ConditionVariable::NotifyOneSlow() {
  const std::lock_guard guard(lock_);
  worker::NotifyOldest(waiters_);
  waiting_.store(!waiters_.Empty(), std::memory_order_relaxed);
}

void ConditionVariable::NotifyAllSlow() {
  const std::lock_guard guard(lock_);
  worker::NotifyAll(waiters_);
  waiting_.store(false, std::memory_order_relaxed);
}

}  // namespace yamanote
