// shown.cc - reads one line of signals.

#include "arbiter/shown.h"

#include <algorithm>

namespace yamanote::arbiter {
namespace {

// How long ago `since` was; 0 for what is no time, or has not come yet.
Duration Ago(int64_t since, Duration now) {
  if (since <= 0 || since >= now.count()) return Duration::zero();
  return Duration(now.count() - since);
}

}  // namespace

bool Shown::Read(const CoreSignals& signals, Duration now, CoreSample& sample) {
  // Relaxed, all: each says what it says alone (abi.h). `taken` first: read the other
  // way round there might seem to be fewer tasks than none.
  sample.taken = signals.taken.load(std::memory_order_relaxed);
  sample.enqueued = signals.enqueued.load(std::memory_order_relaxed);
  const int64_t oldest = signals.oldest_since.load(std::memory_order_relaxed);
  const int64_t since = signals.idle_since.load(std::memory_order_relaxed);
  const int64_t idle = signals.idle.load(std::memory_order_relaxed);

  if (static_cast<int32_t>(sample.enqueued - sample.taken) < 0)
    sample.enqueued = sample.taken;
  sample.oldest = std::min(Ago(oldest, now), kOldest);
  sample.looking = since != 0;

  const Duration elapsed = now > last_ ? now - last_ : Duration::zero();
  const bool first = last_ == Duration::zero();
  last_ = now;
  const bool plausible = idle >= idle_;
  if (plausible) idle_ = idle;
  // What it has been since is not in the word yet, and so may be counted twice when it
  // is: never more than the time that has passed.
  const Duration open = Ago(since, now);
  Duration total = std::max(Duration(idle_), Duration::zero());
  total = total < Duration::max() - open ? total + open : Duration::max();
  if (first) {
    total_ = std::min(total, now);
  } else if (total > total_) {
    total_ += std::min(total - total_, elapsed);
  }
  sample.idle = total_;
  return plausible;
}

}  // namespace yamanote::arbiter
