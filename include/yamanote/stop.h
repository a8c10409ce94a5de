// stop.h - how long a blocking call waits: deadlines and stop tokens.
//
// Every call that can block takes, besides its plain form,
//
//   an Instant         it gives up at that time: x.try_acquire_until(deadline)
//   a Duration         the same, from now on:    x.try_acquire_for(5us)
//   a std::stop_token  it gives up when asked:   x.acquire(stop)
//   both               x.try_acquire_until(stop, deadline)
//
// and then returns false if it gave up (ConditionVariable follows the
// standard's own signatures). A call that does not have to wait succeeds,
// whatever the deadline and the token say; so a deadline in the past means
// "try". A token that was triggered already makes a call that would have to
// wait give up. Ask stop.stop_requested() to tell the two reasons apart.
//
// std::stop_source::request_stop() may be called by any thread, user thread or
// not. It makes the waiters runnable and returns; they give up when they run.
//
// The plain forms read no clock and touch no token.

#pragma once

#include <chrono>
#include <stop_token>
#include <type_traits>

#include "yamanote/time.h"

namespace yamanote {

// Returns the instant `timeout` from now; kNever if that is beyond what an
// Instant can hold (about 290 years), so Duration::max() means "no limit".
inline Instant DeadlineIn(Duration timeout) {
  const Instant now = Clock::now();
  return timeout > kNever - now ? kNever : now + timeout;
}

// Returns the deadline that another clock's `time` means by that clock now. A
// clock that is set afterwards does not move the deadline.
template <typename C, typename D>
Instant DeadlineAt(std::chrono::time_point<C, D> time) {
  if constexpr (std::is_same_v<C, Clock>) {
    return std::chrono::time_point_cast<Duration>(time);
  } else {
    return DeadlineIn(std::chrono::ceil<Duration>(time - C::now()));
  }
}

}  // namespace yamanote
