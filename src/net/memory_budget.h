// memory_budget.h - what the large buffers of all clients may take together.
//
// A buffer of up to kFreeBytes costs nothing here: the limit on connections
// bounds those. A larger one is counted in before it is made and out when it is
// freed, so clients that ask for much and take nothing exhaust the budget, not
// the memory; then large requests and replies are refused, and small ones go
// on.
//
// One counter: it is touched when a large buffer grows, not per request.
// Rejected: a share for each connection, which would refuse the one large
// client there is.

#pragma once

#include <atomic>
#include <cstddef>

#include "base/check.h"

namespace yamanote::net {

class MemoryBudget {
 public:
  static constexpr size_t kFreeBytes = 64 * 1024;

  explicit MemoryBudget(size_t limit) : limit_(limit) {}

  // Counts in a buffer of `capacity` bytes, or returns false. Any thread.
  bool TryTake(size_t capacity) {
    const size_t bytes = Counted(capacity);
    if (bytes == 0) return true;
    // Relaxed throughout: the counter orders nothing but itself.
    size_t used = used_.load(std::memory_order_relaxed);
    do {
      if (bytes > limit_ - used) return false;
    } while (!used_.compare_exchange_weak(used, used + bytes,
                                          std::memory_order_relaxed));
    return true;
  }

  // Counts it out, after it was freed. Any thread.
  void Give(size_t capacity) {
    const size_t bytes = Counted(capacity);
    if (bytes == 0) return;
    const size_t before = used_.fetch_sub(bytes, std::memory_order_relaxed);
    YAMANOTE_CHECK(before >= bytes, "Give() without TryTake()");
  }

  // Any thread; may be stale.
  size_t used() const { return used_.load(std::memory_order_relaxed); }

 private:
  static size_t Counted(size_t capacity) {
    return capacity > kFreeBytes ? capacity - kFreeBytes : 0;
  }

  const size_t limit_;
  std::atomic<size_t> used_{0};  // At most limit_.
};

}  // namespace yamanote::net
