// block.cc - waiting with a stop token.
//
// The stop callback notifies without the list's lock, which the protocol in
// worker/wait.h asks of notifiers so that the Waiter stays. Here the callback's
// destructor sees to that: it returns only after the callback has.

#include "worker/sync/block.h"

#include "worker/sync/caller.h"

namespace yamanote::worker {

WaitResult BlockUntil(Waiter& waiter, Instant deadline,
                      const std::stop_token* stop) {
  // A token that was triggered already calls back from the constructor below. A
  // thread that still runs must not be made runnable: it waits for a deadline
  // in the past instead, because a notifier may have been faster.
  const uintptr_t self = CallerId();
  bool triggered_before = false;
  const std::stop_callback cancel(*stop, [&] {
    if (CallerId() == self) {
      triggered_before = true;
    } else {
      Notify(waiter, WaitResult::kCancelled);
    }
  });
  if (!triggered_before) return Wait(waiter, deadline);
  const WaitResult result = Wait(waiter, Instant::min());
  return result == WaitResult::kTimedOut ? WaitResult::kCancelled : result;
}

}  // namespace yamanote::worker
