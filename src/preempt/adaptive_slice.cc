// adaptive_slice.cc - what is measured, and one step of the rule.

#include "preempt/adaptive_slice.h"

#include <algorithm>
#include <cmath>

namespace yamanote::preempt {

AdaptiveSlice::AdaptiveSlice(Duration least, Duration most, unsigned cores,
                             SliceModel& model)
    : count_(cores), model_(model), cores_(new Core[cores]), seen_(cores) {
  for (double slice = Nanos(least); slice < 0.9 * Nanos(most);
       slice *= std::sqrt(2.0))
    candidates_.emplace_back(static_cast<int64_t>(slice));
  candidates_.push_back(most);
  index_ = candidates_.size() / 2;
  current_.store(candidates_[index_].count(), std::memory_order_relaxed);
}

void AdaptiveSlice::BeginIdle(CoreId core, Instant since) {
  std::atomic<int64_t>& idle = cores_[core].idle;
  const int64_t total = idle.load(std::memory_order_relaxed);
  if (total < 0) return;
  idle.store(~(since.time_since_epoch().count() - total),
             std::memory_order_relaxed);
}

void AdaptiveSlice::EndIdle(CoreId core, Instant until) {
  Core& one = cores_[core];
  one.idle.store(IdleUntil(one, until).count(), std::memory_order_relaxed);
}

Duration AdaptiveSlice::IdleUntil(const Core& core, Instant now) {
  const int64_t idle = core.idle.load(std::memory_order_relaxed);
  if (idle >= 0) return Duration(idle);
  return std::max(now.time_since_epoch() - Duration(~idle), Duration(0));
}

void AdaptiveSlice::AdaptNow(Instant now) {
  const Duration elapsed = now - last_;
  const bool first = last_ == Instant{};
  last_ = now;
  next_ = now + kInterval;

  for (double& count : services_.counts) count *= kKept;
  tasks_ns_ *= kKept;
  idle_ns_ *= kKept;
  elapsed_ns_ *= kKept;
  for (CoreId core = 0; core < count_; ++core) {
    Seen& seen = seen_[core];
    for (size_t bin = 0; bin < ServiceTimes::kBins; ++bin) {
      const uint32_t count =
          cores_[core].counts[bin].load(std::memory_order_relaxed);
      const uint32_t fresh = count - seen.counts[bin];  // Wraps as it does.
      seen.counts[bin] = count;
      services_.counts[bin] += fresh;
      tasks_ns_ += fresh * Nanos(ServiceTimes::MiddleOf(bin));
    }
    const Duration idle = IdleUntil(cores_[core], now);
    idle_ns_ += Nanos(idle - seen.idle);
    seen.idle = idle;
  }
  if (first) {  // Since when, nobody knows.
    tasks_ns_ = 0;
    idle_ns_ = 0;
    return;
  }
  elapsed_ns_ += Nanos(elapsed) * count_;
  double tasks = 0;
  for (const double count : services_.counts) tasks += count;
  if (tasks < kFewestTasks) return;

  Usage usage{.tasks = std::min(tasks_ns_ / elapsed_ns_, 1.0)};
  usage.beside = std::max(1 - idle_ns_ / elapsed_ns_ - usage.tasks, 0.0);
  const Duration best = BestSlice(services_, usage, kCost, candidates_, model_);
  // One step at a time: an interval may be an odd one.
  if (best > candidates_[index_]) {
    ++index_;
  } else if (best < candidates_[index_]) {
    --index_;
  }
  current_.store(candidates_[index_].count(), std::memory_order_relaxed);
}

}  // namespace yamanote::preempt
