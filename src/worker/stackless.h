// stackless.h - threads that a core picked and has no stack for.
//
// The kernel may refuse a stack (vm.max_map_count, ulimit -v). Put back into its
// domain the thread would be picked again at once, under an order by need before
// all those that have a stack and could give it back. So to the order it blocks:
// it waits here, and is made runnable again after a while. One thread then finds
// out whether there are stacks again; if so, more follow.
//
// Bounds: while there is none, a core asks the kernel once per kRetryAfter, and
// makes kMostAtOnce threads runnable at a time.

#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>

#include "base/spin_lock.h"
#include "worker/timer.h"
#include "worker/user_thread.h"
#include "yamanote/time.h"

namespace yamanote::worker {

class Engine;

// One core's.
class Stackless {
 public:
  static constexpr Duration kRetryAfter = std::chrono::milliseconds(1);
  static constexpr size_t kMostAtOnce = 32;

  // Both outlive it. `timers`: the core's.
  Stackless(Engine& engine, TimerQueue& timers)
      : engine_(engine), timers_(timers) {}
  ~Stackless() { timers_.Cancel(timer_); }
  Stackless(const Stackless&) = delete;
  Stackless& operator=(const Stackless&) = delete;

  // Takes `thread`, which was picked, has no stack and whose stop was reported. The
  // core's worker.
  void Add(UserThread& thread);

  // The kernel refused a stack within kRetryAfter. Relaxed: a stale answer costs a
  // call of the kernel, or a wait.
  bool Refused() const { return refused_.load(std::memory_order_relaxed); }

 private:
  void Retry();
  void RetryLater();

  Engine& engine_;
  TimerQueue& timers_;
  std::atomic<bool> refused_{false};
  Timer timer_{[](void* self) { static_cast<Stackless*>(self)->Retry(); },
               this};

  // Timers of a core that is stuck are run by others.
  base::SpinLock lock_;          // Guards what follows.
  UserThread* first_ = nullptr;  // Linked by next_free, in the order of Add().
  UserThread* last_ = nullptr;
  bool waits_ = false;  // For timer_, or is about to.
};

}  // namespace yamanote::worker
