// spin_lock.h - a test-and-test-and-set lock for a few instructions' work.
//
// Use it where the holder runs tens of nanoseconds and never blocks. On a VM
// the holder's core may be taken away, so a waiter that has spun long gives the
// processor back to the kernel between tries.
//
// Satisfies Lockable: std::lock_guard and std::unique_lock work. Public only
// because the synchronisation primitives embed one; not for users' programs.

#pragma once

#include <atomic>

namespace yamanote::base {

class SpinLock {
 public:
  constexpr SpinLock() = default;
  SpinLock(const SpinLock&) = delete;
  SpinLock& operator=(const SpinLock&) = delete;

  void lock() {
    // Acquire: pairs with unlock().
    while (held_.exchange(true, std::memory_order_acquire)) WaitUntilFree();
  }

  bool try_lock() {
    // Relaxed look first: a failing exchange would steal the holder's line.
    return !held_.load(std::memory_order_relaxed) &&
           !held_.exchange(true, std::memory_order_acquire);
  }

  // Release: pairs with lock(), try_lock() and AwaitRelease().
  void unlock() { held_.store(false, std::memory_order_release); }

  // Returns once the lock has been free for a moment since the call. Whoever
  // held it when the call began has then finished its unlock(), so the memory
  // that the lock lies in may be freed. Costs one load if nobody holds it.
  void AwaitRelease() {
    // Acquire: pairs with unlock().
    if (held_.load(std::memory_order_acquire)) WaitUntilFree();
  }

 private:
  void WaitUntilFree();  // Returns after an acquire load that saw it free.

  std::atomic<bool> held_{false};
};

}  // namespace yamanote::base
