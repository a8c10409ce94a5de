// adaptive_slice.h - a slice that follows what the tasks are like.
//
// Short slices help short tasks that wait behind long ones, and cost a switch each.
// Which slice is best depends on how long tasks run and how busy the cores are, so
// both are measured as the program runs, and a queueing model says what each slice
// would give (docs/adr/0021-adaptive-slices.md).
//
//   workers: Record() each finished task, BeginIdle() and EndIdle() -> whoever keeps
//   time: Adapt(), every 10 ms -> current(), after which the timekeeper asks a task to
//   give way

#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/cpu.h"
#include "preempt/slice_model.h"
#include "yamanote/task.h"
#include "yamanote/time.h"

namespace yamanote::preempt {

class AdaptiveSlice {
 public:
  // Between `least` and `most`, both included; begins in the middle.
  AdaptiveSlice(Duration least, Duration most, unsigned cores,
                SliceModel& model = InTurn);

  // A task that ran for `attained` in all has finished. On `core`.
  void Record(CoreId core, Duration attained) {
    std::atomic<uint32_t>& count =
        cores_[core].counts[ServiceTimes::BinOf(attained)];
    // The core's alone; others read a hint. Relaxed, as in Adapt().
    count.store(count.load(std::memory_order_relaxed) + 1,
                std::memory_order_relaxed);
  }

  // `core` has had nothing to do since, or until, then; on it. A second one in a row
  // changes nothing.
  void BeginIdle(CoreId core, Instant since);
  void EndIdle(CoreId core, Instant until);

  // Goes a step towards what is best now, every kInterval. One thread at a time;
  // async-signal-safe.
  void Adapt(Instant now) {
    if (now >= next_) AdaptNow(now);
  }

  // Any thread.
  Duration current() const {
    return Duration(current_.load(std::memory_order_relaxed));
  }

 private:
  static constexpr Duration kInterval = std::chrono::milliseconds(10);
  // What an interval leaves of those before it: ten of them count.
  static constexpr double kKept = 0.9;
  static constexpr double kFewestTasks = 200;
  // A switch, the registers, and the lines that the other task had in the cache:
  // bench/sched measured 0.1 us for the first two.
  static constexpr Duration kCost = std::chrono::microseconds(1);

  struct alignas(base::kNoSharing) Core {
    std::array<std::atomic<uint32_t>, ServiceTimes::kBins> counts{};
    // How long it was idle in all, ns; while it is idle, ~(since when less that).
    // One word, so that who reads it needs no order; relaxed.
    std::atomic<int64_t> idle{0};
  };
  // As Adapt() last saw one.
  struct Seen {
    std::array<uint32_t, ServiceTimes::kBins> counts{};
    Duration idle{0};
  };

  static Duration IdleUntil(const Core& core, Instant now);
  void AdaptNow(Instant now);

  const unsigned count_;
  SliceModel& model_;
  std::vector<Duration> candidates_;  // Half an octave apart.
  size_t index_ = 0;                  // Of the current one.
  std::atomic<int64_t> current_{0};
  const std::unique_ptr<Core[]> cores_;
  std::vector<Seen> seen_;
  ServiceTimes services_{};
  double tasks_ns_ = 0;
  double idle_ns_ = 0;
  double elapsed_ns_ = 0;
  Instant last_{};
  Instant next_{};
};

}  // namespace yamanote::preempt
