// barrier.cc - see the header.
//
// While the completion function runs nothing is missing and phase_ is the old
// one: no arrival is legal, and waiters of the phase still queue up.

#include "yamanote/barrier.h"

#include <mutex>

#include "base/check.h"
#include "worker/sync/block.h"

namespace yamanote {

using worker::Waiter;
using worker::WaitResult;

bool BarrierBase::Arrive(ptrdiff_t n, uint64_t* phase) {
  const std::lock_guard guard(lock_);
  YAMANOTE_CHECK(n > 0 && n <= missing_,
                 "more arrivals at a Barrier than its phase expects");
  *phase = phase_;
  missing_ -= n;
  return missing_ == 0;
}

void BarrierBase::EndPhase() {
  const std::lock_guard guard(lock_);
  ++phase_;
  missing_ = expected_;
  worker::NotifyAll(waiters_);
}

void BarrierBase::Drop() {
  const std::lock_guard guard(lock_);
  YAMANOTE_CHECK(expected_ > 0,
                 "arrive_and_drop() at a Barrier that expects nobody");
  --expected_;
}

bool BarrierBase::Wait(uint64_t phase, Instant deadline,
                       const std::stop_token* stop) {
  lock_.lock();
  if (phase_ != phase) {
    lock_.unlock();
    return true;
  }
  Waiter waiter(worker::EndsOf(deadline, stop));
  waiters_.PushBack(waiter);
  return BlockInList(lock_, waiters_, waiter, deadline, stop) ==
         WaitResult::kNotified;
}

}  // namespace yamanote
