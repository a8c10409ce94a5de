// semaphore.h - a count of permits: CountingSemaphore, BinarySemaphore.
//
//   yamanote::CountingSemaphore<8> connections(8);
//   connections.acquire();
//   Work();
//   connections.release();
//
// Permits go to waiters in the order in which they began to wait; a newcomer
// never overtakes one. A waiter that gives up takes no permit.
//
// Memory ordering: everything before release() happens before everything after
// the acquire() that got the permit. Any thread, user or kernel, may do either;
// release() never blocks, so it is fit for event handlers.
//
// Lifetime: whoever acquires may destroy the semaphore at once, even though the
// release() that gave the permit has not returned yet.

#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <stop_token>

#include "yamanote/detail/wait_list.h"
#include "yamanote/stop.h"
#include "yamanote/time.h"

namespace yamanote {

// What all limits share; use CountingSemaphore.
class SemaphoreBase {
 public:
  SemaphoreBase(const SemaphoreBase&) = delete;
  SemaphoreBase& operator=(const SemaphoreBase&) = delete;

  // Takes a permit; waits for one if there is none.
  void acquire() { Acquire(kNever, nullptr); }

  // Takes a permit if there is one now. Never spuriously false.
  bool try_acquire();

  // As acquire(), but gives up (see stop.h); returns whether it got a permit.
  bool acquire(const std::stop_token& stop) { return Acquire(kNever, &stop); }
  bool try_acquire_until(Instant deadline) {
    return Acquire(deadline, nullptr);
  }
  bool try_acquire_until(const std::stop_token& stop, Instant deadline) {
    return Acquire(deadline, &stop);
  }
  bool try_acquire_for(Duration timeout) {
    return try_acquire() || Acquire(DeadlineIn(timeout), nullptr);
  }

 protected:
  constexpr SemaphoreBase(ptrdiff_t permits, ptrdiff_t max)
      : permits_(permits), max_(max) {}

  void Release(ptrdiff_t count);

 private:
  bool Acquire(Instant deadline, const std::stop_token* stop);

  base::SpinLock lock_;
  // Guarded by lock_. Waiters exist only while there are no permits.
  worker::WaitList waiters_;
  ptrdiff_t permits_;
  const ptrdiff_t max_;
};

template <ptrdiff_t kMax = std::numeric_limits<ptrdiff_t>::max()>
class CountingSemaphore : public SemaphoreBase {
  static_assert(kMax >= 0);

 public:
  // Requires: 0 <= permits <= max().
  constexpr explicit CountingSemaphore(ptrdiff_t permits)
      : SemaphoreBase(permits, kMax) {}

  // Adds `count` permits, to waiters first. Aborts unless count >= 0 and at
  // most max() permits are free afterwards.
  void release(ptrdiff_t count = 1) { Release(count); }

  static constexpr ptrdiff_t max() noexcept { return kMax; }
};

using BinarySemaphore = CountingSemaphore<1>;

}  // namespace yamanote
