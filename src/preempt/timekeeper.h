// timekeeper.h - who keeps time: sees that a core's slice is over and that
// something waits there, and asks the core's task to give way.
//
// Any thread that polls anyway may keep time: the dispatcher, an idle core, a
// busy one between two tasks, a generator of load in the same process. It looks
// at every core's progress, a count that moves at every scheduling point. A count
// that stood still for a slice means a task that ran for a slice, to the
// accuracy of the looks: kLooksPerSlice for each slice at best. So a core that
// changes tasks need not read the clock, nor say when it did.
//
// A core that made no progress for a slice after it was asked is asked again.
//
// Rejected: every core writes down when its slice ends. It costs a clock read per
// switch, half as much as the switch. Kernel timers: an interrupt takes 60 to 70
// us from the core that it hits (2-vCPU VM under nested virtualisation,
// 2026-11-26), so below a millisecond they take more than slices give.

#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/cpu.h"
#include "base/spin_lock.h"
#include "preempt/flag.h"
#include "yamanote/task.h"
#include "yamanote/time.h"

namespace yamanote::preempt {

// What the engine tells about its cores. Any thread, at any time.
class Cores {
 public:
  virtual ~Cores() = default;
  // Moves at every scheduling point of `core`, by one or more.
  virtual uint64_t Progress(CoreId core) const = 0;
  // Something else could run on `core` now.
  virtual bool Waits(CoreId core) const = 0;
};

class Timekeeper {
 public:
  // `slice`: after how long a task on core i is asked to give way, if something
  // waits; kNoPreemption: never. One entry per core.
  Timekeeper(const Cores& cores, const std::vector<Duration>& slices);

  // The calling kernel thread begins, or ends, to run tasks as `core`.
  void Enter(CoreId core);
  void Exit(CoreId core);

  // Looks after every core, unless somebody did just now. Any thread; cheap
  // enough for every turn of a polling loop. `now` is exact.
  void Keep(Instant now) {
    // Relaxed, here and in Look(): a stale value costs one look.
    if (now.time_since_epoch().count() >=
        next_look_.load(std::memory_order_relaxed))
      Look(now);
  }

  // False: no core has slices, so nobody needs to keep time.
  bool needed() const { return interval_ != kNoPreemption; }

 private:
  static constexpr int kLooksPerSlice = 16;

  struct Watched {
    ThreadState* state = nullptr;  // nullptr: nobody runs tasks here.
    Duration slice = kNoPreemption;
    uint64_t progress = 0;
    Instant since{};  // When that was first seen.
    Instant asked{};  // When it was asked last; `since` if it was not.
  };

  void Look(Instant now);

  const Cores& cores_;
  const unsigned count_;
  Duration interval_ = kNoPreemption;  // Between looks. Constant.

  alignas(base::kNoSharing) std::atomic<int64_t> next_look_{0};
  base::SpinLock lock_;  // Guards what follows.
  const std::unique_ptr<Watched[]> watched_;
};

}  // namespace yamanote::preempt
