// wait_group.h - waits until all of a varying number of jobs are done.
//
//   yamanote::WaitGroup jobs;
//   for (Item& item : items) {
//     jobs.add();
//     yamanote::Thread([&] { Work(item); jobs.done(); }).detach();
//   }
//   jobs.wait();
//
// Memory ordering: everything before a done() happens before everything after
// the wait() that saw the count at zero.
//
// May be used again after wait(). Call add() before the job that calls done()
// starts, and not at the same time as a wait() that could see zero before it:
// that wait() may or may not wait for the new job.
//
// Lifetime: whoever returned from wait() may destroy the group at once. Any
// thread, user or kernel. Modelled on Go's sync.WaitGroup.

#pragma once

#include <cstddef>
#include <stop_token>

#include "yamanote/detail/wait_list.h"
#include "yamanote/stop.h"
#include "yamanote/time.h"

namespace yamanote {

class WaitGroup {
 public:
  constexpr WaitGroup() = default;
  WaitGroup(const WaitGroup&) = delete;
  WaitGroup& operator=(const WaitGroup&) = delete;

  // Adds `n` jobs; a negative `n` takes them off. At zero, waiters go on. Never
  // blocks. Aborts if the count would become negative.
  void add(ptrdiff_t n = 1);

  // Takes one job off.
  void done() { add(-1); }

  // Waits until the count is zero.
  void wait() { Wait(kNever, nullptr); }

  // As wait(), but give up (see stop.h); return whether the count was zero.
  bool try_wait();
  bool wait(const std::stop_token& stop) { return Wait(kNever, &stop); }
  bool wait_until(Instant deadline) { return Wait(deadline, nullptr); }
  bool wait_until(const std::stop_token& stop, Instant deadline) {
    return Wait(deadline, &stop);
  }
  bool wait_for(Duration timeout) {
    return try_wait() || Wait(DeadlineIn(timeout), nullptr);
  }

 private:
  bool Wait(Instant deadline, const std::stop_token* stop);

  base::SpinLock lock_;
  // Guarded by lock_.
  worker::WaitList waiters_;
  ptrdiff_t count_ = 0;
};

}  // namespace yamanote
