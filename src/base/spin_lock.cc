// spin_lock.cc - the slow path of SpinLock: spin, then give way to the kernel.

#include "base/spin_lock.h"

#include <sched.h>

#include "base/cpu.h"

namespace yamanote::base {

void SpinLock::WaitUntilFree() {
  constexpr int kSpinsBeforeYield = 1000;
  int spins = 0;
  // Acquire for AwaitRelease(): pairs with unlock().
  while (held_.load(std::memory_order_acquire)) {
    Pause();
    if (++spins % kSpinsBeforeYield == 0) sched_yield();
  }
}

}  // namespace yamanote::base
