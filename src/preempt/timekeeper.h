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
// A core that made no progress for a slice after it was asked is asked again. One
// that does not answer for much longer is interrupted, if the mechanism says so
// (interrupt.h), and at last reported.
//
// Rejected: every core writes down when its slice ends. It costs a clock read per
// switch, half as much as the switch. Kernel timers: an interrupt takes 60 to 70
// us from the core that it hits (2-vCPU VM under nested virtualisation,
// 2026-11-26), so below a millisecond they take more than slices give. Where all
// cores are busy with long tasks, the kernel's own tick (Tick in interrupt.h) finds
// that out, and they ask themselves: see Worker::AtOwnProbe().

#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/cpu.h"
#include "base/spin_lock.h"
#include "preempt/adaptive_slice.h"
#include "preempt/flag.h"
#include "preempt/interrupt.h"
#include "yamanote/mechanism.h"
#include "yamanote/task.h"
#include "yamanote/time.h"

namespace yamanote::preempt {

// What the engine tells about its cores. Any thread, at any time.
class Cores {
 public:
  virtual ~Cores() = default;
  // Moves at every scheduling point of `core`, by one or more.
  virtual uint64_t Progress(CoreId core) const = 0;
  // Something else could run on `core` now. Async-signal-safe, as Progress().
  virtual bool Waits(CoreId core) const = 0;
};

struct TimekeeperOptions {
  // After how long a task on core i is asked to give way, if something waits;
  // kNoPreemption: never. One entry per core.
  std::vector<Duration> slices;
  // The least slice that is given now; nullptr: that of the core is.
  AdaptiveSlice* adaptive = nullptr;
  // One of those that interrupt: after which time without an answer a core is
  // interrupted. kNoPreemption: never.
  Duration interrupt_after = kNoPreemption;
  // After which time without an answer the task is reported. kNoPreemption:
  // never.
  Duration watchdog = kNoPreemption;
};

class Timekeeper {
 public:
  Timekeeper(const Cores& cores, const TimekeeperOptions& options);

  // The calling kernel thread begins, or ends, to run tasks as `core`. Nobody asks or
  // interrupts it before Enter(), nor once Exit() has returned.
  void Enter(CoreId core);
  void Exit(CoreId core);

  // Looks after every core, unless somebody did just now. Any thread;
  // async-signal-safe; cheap enough for every turn of a polling loop. `now` is
  // exact.
  //
  // Who did it last goes on; the others leave it to him, and see the tasks that they
  // poll for the sooner. One takes over when he is late by a quarter of a slice.
  void Keep(Instant now) {
    // Relaxed, here and in Look(): a stale value costs one look.
    const int64_t late = now.time_since_epoch().count() -
                         next_look_.load(std::memory_order_relaxed);
    if (late >= 0 && (looker_.load(std::memory_order_relaxed) == &OwnState() ||
                      late >= ToNanos(Grace())))
      Look(now);
  }

  // The same for a busy core between two tasks: only if nobody has looked for a quarter
  // of a slice, for the lines that it reads are others'.
  void KeepInPassing(Instant now) {
    const Duration pause = this->pause();
    if (pause != kNoPreemption &&
        now.time_since_epoch().count() >=
            next_look_.load(std::memory_order_relaxed) + ToNanos(pause))
      Look(now);
  }

  // Whether somebody has looked since `when`. Any thread; async-signal-safe.
  bool HasLooked(Instant when) const {
    return next_look_.load(std::memory_order_relaxed) - ToNanos(Interval()) >=
           when.time_since_epoch().count();
  }

  // The same, but whether the last to do so was another thread than `own` state's.
  bool AnotherHasLooked(Instant when, const ThreadState& own) const {
    return HasLooked(when) && looker_.load(std::memory_order_relaxed) != &own;
  }

  // How long a busy core may leave that to others: about a quarter of the shortest slice
  // that is given now. kNoPreemption: there is nobody else, or nobody has slices.
  Duration pause() const {
    return count_ > 1 && needed() ? Grace() : kNoPreemption;
  }

  // False: no core has slices, so nobody needs to keep time.
  bool needed() const { return interval_ != kNoPreemption; }

  // How many times a task did not answer for as long as the watchdog allows, reported
  // or not. Any thread.
  uint64_t held_off() const {
    return held_off_.load(std::memory_order_relaxed);
  }

 private:
  static constexpr int kLooksPerSlice = 32;
  static constexpr Duration kReportPause = std::chrono::seconds(1);
  // A core that was interrupted in vain is interrupted again after twice the
  // time, up to this: it may be in a library, or in a system call that does not
  // like to be interrupted.
  static constexpr Duration kLongestPause = std::chrono::milliseconds(10);

  // Each look is another core's, so lines count: the first is all that most need.
  struct alignas(64) Watched {
    ThreadState* state = nullptr;  // nullptr: nobody runs tasks here.
    Duration slice = kNoPreemption;
    uint64_t progress = 0;
    Instant since{};  // When that was first seen.
    Instant asked{};  // When it was asked last; `since` if it was not.
    pid_t tid = 0;
    // Of a core that was asked. How long after `since` it is interrupted next, and
    // reported.
    Duration interrupt_at = kNoPreemption;
    Duration report_at = kNoPreemption;
    Duration pause{0};  // Until the interrupt after that.
    // WaitedForCpu() half a watchdog's time before report_at; negative: not yet.
    Duration waited{-1};
  };

  void Look(Instant now);
  // Between two looks. Follows the slices: what looks read is others' lines.
  Duration Interval() const {
    return adaptive_ == nullptr
               ? interval_
               : std::max(interval_, adaptive_->current() / kLooksPerSlice);
  }
  Duration SliceOf(const Watched& watched) const {
    return adaptive_ == nullptr ? watched.slice
                                : std::max(watched.slice, adaptive_->current());
  }
  // How late who keeps time may be before somebody else does.
  Duration Grace() const { return (kLooksPerSlice / 4 - 1) * Interval(); }
  void Answered(Watched& watched, Instant now) const;
  void Insist(Watched& watched, Instant now);
  void Watch(Watched& watched, Duration ran, Instant now);

  const Cores& cores_;
  const unsigned count_;
  AdaptiveSlice* const adaptive_;
  const Duration interrupt_after_;
  const Duration watchdog_;
  Duration interval_ = kNoPreemption;  // The least between looks. Constant.

  alignas(base::kNoSharing) std::atomic<int64_t> next_look_{0};
  // Whose look that was. Relaxed: as next_look_, and never followed.
  std::atomic<const ThreadState*> looker_{nullptr};
  std::atomic<uint64_t> held_off_{0};
  base::SpinLock lock_;  // Guards what follows.
  Instant next_report_{};
  const std::unique_ptr<Watched[]> watched_;
};

}  // namespace yamanote::preempt
