// mlfq.cc - a multi-level feedback queue: who has used up few slices goes first.
//
// A task that arrives or wakes up enters the first level. Each slice that it uses up while
// others wait takes it towards the next: level k holds those that have used up 2^(k-1) to
// 2^k - 1, first in first out. A task uses its level up in one go if nobody overtakes it, 64
// slices at most, so the longer it runs the more rarely it gives way to its like; whatever
// `rejoin` says. It is least attained service first by powers of two: short tasks
// overtake long ones after a slice, nothing need be known of lengths, and no clock is read.
// A task that yields goes behind all that wait.
//
// Some picks go to a deeper level, each in turn, so nobody starves: few while the first
// level runs empty now and then; to tasks of up to 127 slices every other one where it
// never does.
//
// Use it for requests or threads of unknown, different lengths. Tasks of one length should
// not be cut by the slice: then it is fifo, as it is without a slice.
//
// Invariant: levels_[k] holds tasks that are enqueued and not yet picked, and bit k of
// filled_ says whether there are any. Work-conserving.
//
// Source: Corbato, Merwin-Daggett and Daley, "An Experimental Time-Sharing System",
// AFIPS Spring Joint Computer Conference 1962 (levels, doubled quanta); Nuyens and
// Wierman, "The Foreground-Background Queue: A Survey", Performance Evaluation 65(3-4),
// 2008 (optimal where long tasks are likely to go on).

#include <algorithm>
#include <array>
#include <bit>

#include "yamanote/policy.h"
#include "yamanote/task_queue.h"

namespace yamanote {
namespace {

// The last one holds tasks that have used up 16,384 slices and more.
constexpr uint32_t kLevels = 16;
// One pick in so many goes to a deeper level. To kHurried, tasks of up to 127 slices, one in
// half as many from kBusyPicks on that the first level has not run empty, and half again each
// time that it has not for twice as long, down to the least. If it never does, that is
// overload, or a server that keeps up by larger batches only (ADR 0025). Not to all: tasks
// without end would take half the core and more from the first level, and never give it back.
constexpr uint32_t kPicksPerTurn = 64;
constexpr uint32_t kHurried = 0xfe;
constexpr uint32_t kLeastPicksPerTurn = 2;
constexpr uint32_t kBusyPicks = 32;
constexpr uint32_t kManyPicks = 1u << 20;
// Slices in a row, if another task of the level waits: nobody leaves the last level.
constexpr uint32_t kMostInOneGo = 64;
// Where a count that has run over goes on: on the last level.
constexpr uint32_t kManySlices = 1u << 31;

class MultiLevel final : public Policy {
 public:
  explicit MultiLevel(const PolicyOptions& options) : slice_(options.slice) {}

  void Enqueue(Task& task, Wake why, Instant) override {
    if (filled_ == 0) first_busy_ = 0;
    switch (why) {
      case Wake::kArrival:
      case Wake::kWakeup:
        task.policy_count = 0;
        break;
      case Wake::kPreempted: {
        const uint32_t before = LevelOf(task);
        if (++task.policy_count == 0) task.policy_count = kManySlices;
        if (LevelOf(task) == before && task.policy_count % kMostInOneGo != 0) {
          levels_[before].PushFront(task);
          filled_ |= 1u << before;
          return;
        }
        break;
      }
      case Wake::kYield: {
        const auto used = static_cast<uint32_t>(std::bit_width(filled_));
        Append(task, std::max(LevelOf(task), used == 0 ? 0 : used - 1));
        return;
      }
      case Wake::kMigrated:
        break;
    }
    Append(task, LevelOf(task));
  }

  Task* PickNext(CoreId, Instant) override {
    if (filled_ == 0) return nullptr;
    const uint32_t deeper = filled_ & (filled_ - 1);
    auto level = static_cast<uint32_t>(std::countr_zero(filled_));
    first_busy_ = level != 0 ? 0 : std::min(first_busy_ + 1, kManyPicks);
    if (deeper != 0 && (++picks_ & (HurriedPicksPerTurn() - 1)) == 0) {
      const uint32_t hurried = deeper & kHurried;
      if ((picks_ & (kPicksPerTurn - 1)) == 0) {
        level = NextInTurn(deeper, turn_);
      } else if (hurried != 0) {
        level = NextInTurn(hurried, hurried_turn_);
      }
    }
    Task* const task = levels_[level].PopFront();
    if (levels_[level].Empty()) filled_ &= ~(1u << level);
    return task;
  }

  Duration Slice(const Task&) const override { return slice_; }

 private:
  static uint32_t LevelOf(const Task& task) {
    return std::min(static_cast<uint32_t>(std::bit_width(task.policy_count)),
                    kLevels - 1);
  }

  // A power of two.
  uint32_t HurriedPicksPerTurn() const {
    return std::max(kPicksPerTurn >> std::bit_width(first_busy_ / kBusyPicks),
                    kLeastPicksPerTurn);
  }

  void Append(Task& task, uint32_t level) {
    levels_[level].PushBack(task);
    filled_ |= 1u << level;
  }

  // The first of `levels` behind the one whose turn was last.
  static uint32_t NextInTurn(uint32_t levels, uint32_t& turn) {
    const uint32_t behind = levels & ~((2u << turn) - 1);
    turn =
        static_cast<uint32_t>(std::countr_zero(behind != 0 ? behind : levels));
    return turn;
  }

  const Duration slice_;
  uint32_t filled_ = 0;        // Bit k: levels_[k] is not empty.
  uint32_t picks_ = 0;         // While deeper levels waited.
  uint32_t turn_ = 0;          // The level that had one of the turns of all.
  uint32_t hurried_turn_ = 0;  // And the one that had one of kHurried's.
  uint32_t first_busy_ = 0;    // Picks since it was found empty.
  std::array<TaskQueue, kLevels> levels_;  // Intrusive: never allocates.
};

}  // namespace

extern constexpr PolicyInfo kMlfq = {
    .name = "mlfq",
    .summary = "fewest slices used up first, by powers of two; nobody starves",
    .good_at = "requests and threads of unknown, different lengths",
    .bad_at = "tasks of one length that is more than a slice",
    .source = "Corbato et al., An Experimental Time-Sharing System, 1962",
    .short_first = true,
    .make = [](const PolicyOptions& options) -> std::unique_ptr<Policy> {
      return std::make_unique<MultiLevel>(options);
    },
};

}  // namespace yamanote
