// spin_lock.cc - the slow path of SpinLock: spin, then give way to the kernel.

#include "base/spin_lock.h"

#include "base/backoff.h"

namespace yamanote::base {

void SpinLock::WaitUntilFree() {
  // Acquire for AwaitRelease(): pairs with unlock().
  for (Backoff backoff; held_.load(std::memory_order_acquire);) backoff.Wait();
}

}  // namespace yamanote::base
