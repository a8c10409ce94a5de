// spin_lock.h - a test-and-test-and-set lock for a few instructions' work.
//
// Use it where the holder runs tens of nanoseconds and never blocks. On a VM
// the holder's core may be taken away, so a waiter that has spun long gives the
// processor back to the kernel between tries.
//
// Satisfies Lockable: std::lock_guard and std::unique_lock work.

#pragma once

#include <sched.h>

#include <atomic>

#include "base/cpu.h"

namespace yamanote::base {

class SpinLock {
 public:
  void lock() {
    // Acquire: pairs with unlock().
    while (held_.exchange(true, std::memory_order_acquire)) WaitUntilFree();
  }

  bool try_lock() {
    // Relaxed look first: a failing exchange would steal the holder's line.
    return !held_.load(std::memory_order_relaxed) &&
           !held_.exchange(true, std::memory_order_acquire);
  }

  // Release: pairs with lock() and try_lock().
  void unlock() { held_.store(false, std::memory_order_release); }

 private:
  static constexpr int kSpinsBeforeYield = 1000;

  void WaitUntilFree() {
    int spins = 0;
    while (held_.load(std::memory_order_relaxed)) {
      Pause();
      if (++spins % kSpinsBeforeYield == 0) sched_yield();
    }
  }

  std::atomic<bool> held_{false};
};

}  // namespace yamanote::base
