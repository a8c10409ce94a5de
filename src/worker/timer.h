// timer.h - what a worker must do at a later instant: deadlines, sleeps,
// slices.
//
// A queue per worker, usually used by that worker alone, so that its lock is
// uncontended; any thread may add, cancel and, for a worker that is busy with a
// long task, run what expired. Time is passed in: virtual time works.
//
// Use it for up to millions of timers that are mostly cancelled. Adding and
// cancelling cost a heap operation, O(log n) with four children per node.
// Rejected: a hierarchical wheel; it rounds, and its ticks cost an idle worker.
//
// Invariant: each queued timer is in heap_ once, at heap_[timer.index_], and no
// entry's instant is before its parent's.

#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/spin_lock.h"
#include "yamanote/time.h"

namespace yamanote::worker {

// One thing to do later; lives in whatever waits for it. States, guarded by the
// queue's lock: idle -> queued (Add) -> idle (Cancel), or -> running
// (RunExpired) -> idle. It must be idle when it is destroyed; Cancel() makes it
// so.
class Timer {
 public:
  Timer(void (*callback)(void*), void* argument)
      : callback_(callback), argument_(argument) {}
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

 private:
  friend class TimerQueue;
  static constexpr uint32_t kIdle = UINT32_MAX;

  void (*const callback_)(void*);
  void* const argument_;
  uint32_t index_ = kIdle;  // In heap_; guarded by the queue's lock.
};

class TimerQueue {
 public:
  static constexpr int kDefaultBudget = 16;

  TimerQueue() = default;
  TimerQueue(const TimerQueue&) = delete;
  TimerQueue& operator=(const TimerQueue&) = delete;

  // Makes room for `timers`, so that Add() does not allocate up to that number.
  void Reserve(size_t timers);

  // Calls the timer's callback in the RunExpired() that follows `when`. Among
  // equal instants the order is not defined. Requires: not queued. Returns true
  // if it is now the first: whoever sleeps until Next() must be woken. Any
  // thread, the timer's own callback included. Allocates only to grow.
  bool Add(Timer& timer, Instant when);

  // Returns true if `timer` was queued; it is not called then. Otherwise waits
  // while another thread is inside its callback, so that after the return the
  // timer may be destroyed: the caller must hold no lock that the callback
  // takes. From inside the timer's own callback it returns false at once. Any
  // thread.
  bool Cancel(Timer& timer);

  // Calls, with no lock held, the callbacks of up to `budget` timers whose
  // instant is not after `now`, earliest first. Returns how many; 0 as well if
  // another thread is in RunExpired(). A callback may Add() and Cancel() any
  // timer and may destroy its own; it must not block.
  int RunExpired(Instant now, int budget = kDefaultBudget);

  // The earliest instant, kNever if the queue is empty. A hint that any thread
  // may read without the lock; the one who was told by Add() to wake a sleeper
  // does so after its change of it.
  Instant Next() const {
    // Relaxed: RunExpired() looks again under the lock, and a sleeper is woken
    // through the poller, whose exchanges order this.
    return FromNanos(next_.load(std::memory_order_relaxed));
  }

  size_t Size() const;  // Any thread; takes the lock.

 private:
  struct Entry {
    Instant when;
    Timer* timer;
  };

  // All require lock_.
  void Place(size_t index, Entry entry);
  void SiftUp(size_t index, Entry entry);
  void SiftDown(size_t index, Entry entry);
  void RemoveAt(size_t index);
  void PublishNext();

  std::atomic<int64_t> next_{ToNanos(kNever)};  // Written under lock_.
  // Held by the thread in RunExpired(). Acquire and release pair with each
  // other.
  std::atomic<bool> running_expired_{false};

  mutable base::SpinLock lock_;
  // The rest is guarded by lock_.
  std::vector<Entry> heap_;
  // Whose callback runs now. Never read through.
  const Timer* running_ = nullptr;
  const void* running_thread_ = nullptr;  // ThreadKey() of the thread in it.
  uint64_t finished_ = 0;                 // Callbacks that have returned.
};

}  // namespace yamanote::worker
