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
#include <span>
#include <vector>

#include "base/cpu.h"
#include "yamanote/task.h"
#include "yamanote/time.h"

namespace yamanote::preempt {

// How many tasks ran for how long, in bins of a quarter octave from 128 ns on. The
// first and the last take what is outside.
struct ServiceTimes {
  static constexpr size_t kBins = 72;

  std::array<double, kBins> counts{};

  static size_t BinOf(Duration service);
  static Duration MiddleOf(size_t bin);
  static Duration EndOf(size_t bin);  // Exclusive.
};

// Shares of the cores' time, 0 .. 1 together: what the tasks themselves take, and what
// is done for them (network, queues, switches).
struct Usage {
  double tasks;
  double beside = 0;
};

// The mean slowdown that a core gives such tasks in slices of `slice` when it is so
// busy and a preemption costs `cost`. A slowdown is that of a task of at least 1 us:
// below, no client could tell. Tasks count as long as their bin allows, so that a
// slice fits them.
//
// Source: Pollaczek and Khinchine's formula for the first wait, where each turn of
// a task is a customer, and the limit of processor sharing for the further ones.
double MeanSlowdown(const ServiceTimes& services, Usage usage, Duration slice,
                    Duration cost);

// The longest of `candidates` (ascending, not empty) that keeps 98% of what the best one
// gains over the longest of all; of those that cut no task, the shortest. Where the cores
// are full, one whose preemptions take 2% of the work at most.
Duration BestSlice(const ServiceTimes& services, Usage usage, Duration cost,
                   std::span<const Duration> candidates);

class AdaptiveSlice {
 public:
  // Between `least` and `most`, both included; begins in the middle.
  AdaptiveSlice(Duration least, Duration most, unsigned cores);

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
