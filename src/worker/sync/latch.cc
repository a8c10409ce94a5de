// latch.cc - see the header. Also under the lock: a look at the count. A waiter
// that saw zero without it could destroy the latch under the last counter's
// feet.

#include "yamanote/latch.h"

#include <mutex>

#include "base/check.h"
#include "worker/sync/block.h"

namespace yamanote {

using worker::Waiter;
using worker::WaitResult;

void Latch::count_down(ptrdiff_t n) {
  const std::lock_guard guard(lock_);
  YAMANOTE_CHECK(n >= 0 && n <= count_,
                 "a Latch is counted down below zero; expect more");
  count_ -= n;
  if (count_ == 0) worker::NotifyAll(waiters_);
}

bool Latch::try_wait() const {
  const std::lock_guard guard(lock_);
  return count_ == 0;
}

bool Latch::Wait(Instant deadline, const std::stop_token* stop) const {
  lock_.lock();
  if (count_ == 0) {
    lock_.unlock();
    return true;
  }
  Waiter waiter(worker::EndsOf(deadline, stop));
  waiters_.PushBack(waiter);
  return BlockInList(lock_, waiters_, waiter, deadline, stop) ==
         WaitResult::kNotified;
}

}  // namespace yamanote
