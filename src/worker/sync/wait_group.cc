// wait_group.cc - see the header; why looks are under the lock: latch.cc.

#include "yamanote/wait_group.h"

#include <mutex>

#include "base/check.h"
#include "worker/sync/block.h"

namespace yamanote {

using worker::Waiter;
using worker::WaitResult;

void WaitGroup::add(ptrdiff_t n) {
  const std::lock_guard guard(lock_);
  YAMANOTE_CHECK(!__builtin_add_overflow(count_, n, &count_) && count_ >= 0,
                 "a WaitGroup's count is negative: more done() than add()");
  if (count_ == 0) worker::NotifyAll(waiters_);
}

bool WaitGroup::try_wait() {
  const std::lock_guard guard(lock_);
  return count_ == 0;
}

bool WaitGroup::Wait(Instant deadline, const std::stop_token* stop) {
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
