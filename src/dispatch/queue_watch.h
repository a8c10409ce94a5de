// queue_watch.h - shows an arbiter how a domain's queue is doing.
//
// Counts who joins and who leaves, and keeps when those that wait joined: which one is
// the oldest follows from the counts alone where first come is first served. Under other
// orders it is when the one would have joined that would be the oldest then; core
// policies ask whether work waits, not whose.

#pragma once

#include <array>
#include <cstdint>

#include "arbiter/abi.h"
#include "yamanote/time.h"

namespace yamanote::dispatch {

class QueueWatch {
 public:
  // `signals` outlives this, or the next Move(). `timed`: when tasks join is kept, so `now`
  // must be exact.
  QueueWatch(arbiter::CoreSignals& signals, bool timed)
      : signals_(&signals), timed_(timed) {}

  // Another one looks, and there. Under the domain's lock.
  void Move(arbiter::CoreSignals& signals) {
    signals_ = &signals;
    signals_->taken.store(taken_, std::memory_order_relaxed);
    signals_->enqueued.store(enqueued_, std::memory_order_relaxed);
    if (timed_) ShowOldest();
  }

  // Both under the domain's lock. Relaxed: each word stands for itself.
  void Joined(Instant now) {
    if (timed_) joined_[enqueued_ % kKept] = ToNanos(now.time_since_epoch());
    signals_->enqueued.store(++enqueued_, std::memory_order_relaxed);
    if (timed_) ShowOldest();
  }
  void Left() {
    signals_->taken.store(++taken_, std::memory_order_relaxed);
    if (timed_) ShowOldest();
  }

 private:
  // Of more, the oldest has waited for at least as long as the oldest of these.
  static constexpr uint32_t kKept = 64;

  void ShowOldest() {
    const uint32_t waiting = enqueued_ - taken_;
    const uint32_t oldest = waiting > kKept ? enqueued_ - kKept : taken_;
    signals_->oldest_since.store(waiting == 0 ? 0 : joined_[oldest % kKept],
                                 std::memory_order_relaxed);
  }

  arbiter::CoreSignals* signals_;
  const bool timed_;
  // The domain's own: what the other side can write is not relied on.
  uint32_t enqueued_ = 0;
  uint32_t taken_ = 0;
  std::array<int64_t, kKept> joined_{};
};

}  // namespace yamanote::dispatch
