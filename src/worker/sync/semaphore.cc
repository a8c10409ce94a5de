// semaphore.cc - see the header. All state is under one spin lock: an
// uncontended call costs one atomic instruction, as a lock-free count would,
// and handing permits to waiters in order needs no protocol.

#include "yamanote/semaphore.h"

#include <mutex>

#include "base/check.h"
#include "worker/sync/block.h"

namespace yamanote {

using worker::Waiter;
using worker::WaitResult;

bool SemaphoreBase::try_acquire() {
  const std::lock_guard guard(lock_);
  if (permits_ == 0) return false;
  --permits_;
  return true;
}

bool SemaphoreBase::Acquire(Instant deadline, const std::stop_token* stop) {
  lock_.lock();
  if (permits_ > 0) {
    --permits_;
    lock_.unlock();
    return true;
  }
  Waiter waiter(worker::EndsOf(deadline, stop));
  waiters_.PushBack(waiter);
  return BlockInList(lock_, waiters_, waiter, deadline, stop) ==
         WaitResult::kNotified;
}

void SemaphoreBase::Release(ptrdiff_t count) {
  YAMANOTE_CHECK(count >= 0, "a semaphore's release(count) needs count >= 0");
  const std::lock_guard guard(lock_);
  while (count > 0 && worker::NotifyOldest(waiters_)) --count;
  YAMANOTE_CHECK(count <= max_ - permits_,
                 "release() beyond the semaphore's max(); raise the limit or "
                 "release only what was acquired");
  permits_ += count;
}

}  // namespace yamanote
