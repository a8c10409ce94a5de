// timekeeper.cc - one look after all cores.

#include "preempt/timekeeper.h"

#include <algorithm>
#include <mutex>

namespace yamanote::preempt {

Timekeeper::Timekeeper(const Cores& cores, const std::vector<Duration>& slices)
    : cores_(cores),
      count_(static_cast<unsigned>(slices.size())),
      watched_(new Watched[slices.size()]) {
  for (CoreId core = 0; core < count_; ++core) {
    watched_[core].slice = slices[core];
    if (slices[core] == kNoPreemption) continue;
    interval_ = std::min(interval_, slices[core] / kLooksPerSlice);
  }
  if (interval_ == kNoPreemption) next_look_ = INT64_MAX;  // Nobody looks.
}

void Timekeeper::Enter(CoreId core) {
  const std::lock_guard guard(lock_);
  watched_[core].state = &OwnState();
}

void Timekeeper::Exit(CoreId core) {
  const std::lock_guard guard(lock_);
  watched_[core].state = nullptr;
  OwnState().flag.store(0, std::memory_order_relaxed);
}

void Timekeeper::Look(Instant now) {
  // One keeper suffices; the others have something else to do.
  if (!lock_.try_lock()) return;
  for (CoreId core = 0; core < count_; ++core) {
    Watched& watched = watched_[core];
    if (watched.state == nullptr || watched.slice == kNoPreemption) continue;
    const uint64_t progress = cores_.Progress(core);
    if (progress != watched.progress) {
      watched.progress = progress;
      watched.since = watched.asked = now;
    } else if (now - watched.asked >= watched.slice && cores_.Waits(core)) {
      Ask(*watched.state, {.progress = progress, .ran = now - watched.since});
      watched.asked = now;
    }
  }
  next_look_.store((now + interval_).time_since_epoch().count(),
                   std::memory_order_relaxed);
  lock_.unlock();
}

}  // namespace yamanote::preempt
