// virtual_time.h - what the fair orders share: virtual time, and how far the
// tasks that run have come in it.
//
// A task's virtual time is the service it has had divided by its weight. It
// lives in word 0 of the task and is brought up to date when the task stops;
// RunningTasks knows what it is meanwhile. Otherwise a newcomer would be placed by
// a time long past, and a task that was alone for long would owe it all the
// service that nobody missed.

#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "yamanote/policy.h"

namespace yamanote {

// It counts 1/1024 ns, so that dividing by a weight of 10000 loses little. 2^63 of
// them are 104 days of a core; it may wrap, so only differences are compared.
inline constexpr int64_t kVirtualScale = 1024;

// Beyond it nobody notices, and products stay small.
inline constexpr Duration kLongestFairSlice = std::chrono::seconds(1);

inline int64_t ToVirtual(Duration service, unsigned weight) {
  return ToNanos(service) * kVirtualScale / weight;
}

// Returns a - b.
inline int64_t VirtualDifference(uint64_t a, uint64_t b) {
  return static_cast<int64_t>(a - b);
}

// Orders a TaskHeap by word `index`.
template <size_t index>
struct LeastWordFirst {
  bool operator()(const Task& a, const Task& b) const {
    return VirtualDifference(a.policy_words[index], b.policy_words[index]) < 0;
  }
};

// One entry per core of the domain, and one for those that lend it a hand. Every
// function takes time in proportion to them, or none.
class RunningTasks {
 public:
  explicit RunningTasks(const PolicyOptions& options)
      : cores_(options.cores),
        first_core_(options.first_core),
        entries_(options.cores + 1) {}

  // `task` was picked for `core`.
  void Started(const Task& task, CoreId core, Instant now) {
    Entry& entry = On(core);
    Forget(entry);
    entry = {&task, task.policy_words[0], task.weight, now, Duration(0)};
  }

  // Brings word 0 up to date. A task that gave way counts as running until it is
  // enqueued: with nothing to run instead, a dispatcher lets it go on.
  void Stopped(Task& task, CoreId core, Stop why, Duration ran) {
    const int64_t more = ToVirtual(ran, task.weight);
    task.policy_words[0] += static_cast<uint64_t>(more);
    growth_ += more * task.weight;
    Entry& entry = On(core);
    if (entry.task != &task) return;
    const Instant stopped = entry.since + ran;
    Forget(entry);
    if (why == Stop::kPreempted || why == Stop::kYielded)
      Started(task, core, stopped);
  }

  // `task`, which gave way, waits.
  void Enqueued(const Task& task) {
    Entry& entry = On(task.last_core);
    if (entry.task == &task) Forget(entry);
  }

  // Calls visit(virtual time at `now`) for each task that runs.
  template <typename Visit>
  void ForEach(Instant now, Visit visit) const {
    for (const Entry& entry : entries_) {
      if (entry.task == nullptr) continue;
      const Duration ran = std::max(now - entry.since, Duration(0));
      visit(entry.virtual_time +
            static_cast<uint64_t>(ToVirtual(ran, entry.weight)));
    }
  }

  // Returns by how much the sum of weight * virtual time of all tasks grew from
  // the last call until `now`.
  int64_t TakeGrowth(Instant now) {
    for (Entry& entry : entries_) {
      const Duration more = now - entry.since - entry.counted;
      if (entry.task == nullptr || more <= Duration(0)) continue;
      entry.counted += more;
      growth_ += ToNanos(more) * kVirtualScale;
    }
    return std::exchange(growth_, 0);
  }

 private:
  struct Entry {
    const Task* task = nullptr;  // To compare only: it may be gone.
    uint64_t virtual_time = 0;   // When it was picked,
    uint16_t weight = 1;
    Instant since{};      // which was then.
    Duration counted{0};  // What of its run is in the growth already.
  };

  Entry& On(CoreId core) {
    return entries_[std::min<CoreId>(core - first_core_, cores_)];
  }

  // What was counted comes again with Stopped(), to the last bit.
  void Forget(Entry& entry) {
    if (entry.task == nullptr) return;
    growth_ -= ToNanos(entry.counted) * kVirtualScale;
    entry.task = nullptr;
  }

  const unsigned cores_;
  const CoreId first_core_;
  std::vector<Entry> entries_;  // Sized at construction.
  int64_t growth_ = 0;
};

}  // namespace yamanote
