// latch.h - a gate that opens once, when a count reaches zero.
//
//   yamanote::Latch ready(workers);
//   ready.count_down();  // Each worker, once.
//   ready.wait();        // Whoever needs them all.
//
// Memory ordering: everything before a count_down() happens before everything
// after the wait() or the successful try_wait() that saw the gate open.
//
// Lifetime: whoever returned from wait() may destroy the latch at once, even
// though the last count_down() has not returned yet. Any thread, user or
// kernel.
//
// Use WaitGroup where the count is not known beforehand, Barrier where the
// threads meet again and again.

#pragma once

#include <cstddef>
#include <stop_token>

#include "yamanote/detail/wait_list.h"
#include "yamanote/stop.h"
#include "yamanote/time.h"

namespace yamanote {

class Latch {
 public:
  // Requires: expected >= 0.
  constexpr explicit Latch(ptrdiff_t expected) : count_(expected) {}
  Latch(const Latch&) = delete;
  Latch& operator=(const Latch&) = delete;

  // Subtracts `n`; opens the gate at zero. Never blocks. Aborts unless
  // 0 <= n <= what is left.
  void count_down(ptrdiff_t n = 1);

  // Returns whether the gate is open.
  bool try_wait() const;

  // Waits until the gate is open.
  void wait() const { Wait(kNever, nullptr); }

  // As wait(), but give up (see stop.h); return whether the gate is open.
  bool wait(const std::stop_token& stop) const { return Wait(kNever, &stop); }
  bool wait_until(Instant deadline) const { return Wait(deadline, nullptr); }
  bool wait_until(const std::stop_token& stop, Instant deadline) const {
    return Wait(deadline, &stop);
  }
  bool wait_for(Duration timeout) const {
    return try_wait() || Wait(DeadlineIn(timeout), nullptr);
  }

  // count_down(n) and wait() in one.
  void arrive_and_wait(ptrdiff_t n = 1) {
    count_down(n);
    wait();
  }

 private:
  bool Wait(Instant deadline, const std::stop_token* stop) const;

  mutable base::SpinLock lock_;
  // Guarded by lock_.
  mutable worker::WaitList waiters_;
  ptrdiff_t count_;
};

}  // namespace yamanote
