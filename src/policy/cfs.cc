// cfs.cc - weighted fair sharing: whoever has had least for its weight runs.
//
// A task's virtual time is the service it has had divided by its weight; the
// smallest runs first, so everybody gets its weight's share of the core. All run
// once within the period (`slice`, 50 us unless set): a slice is the task's share
// of it, at least a quarter, so with many tasks the period stretches.
//
// A new task comes one slice after the one that is furthest behind: a stream of
// newcomers can't keep out the others. A woken one keeps its virtual time, but
// is never more than half a period behind them: sleep is not saved up. Who
// yields lets at least one other pass. A task that changes domains takes along
// how far it is behind or ahead, not its virtual time, which means nothing there.
//
// Use it for threads that live long and must share by weight. Requests that run
// once gain nothing from it: fifo or rr are cheaper, las favours short ones.
// Placing a task looks at each core of the domain: meant for a domain per core.
//
// Invariant: heap_ holds exactly the tasks enqueued and not yet picked; weight_
// is that of all tasks that wait or run here. Work-conserving.
//
// Source: Molnar, "CFS Scheduler", Documentation/scheduler/sched-design-CFS,
// Linux 2.6.23, 2007 (least virtual run time first, floor that only rises). Period
// and quarter, for microseconds: the code published with Jia et al., "Skyloft",
// SOSP 2024.

#include <algorithm>

#include "policy/virtual_time.h"
#include "yamanote/policy.h"
#include "yamanote/task_heap.h"

namespace yamanote {
namespace {

constexpr Duration kDefaultPeriod = std::chrono::microseconds(50);

class FairShare final : public Policy {
 public:
  explicit FairShare(const PolicyOptions& options)
      : period_(PeriodOf(options)),
        cores_(options.cores),
        domain_(options.first_core),
        running_(options) {}

  static Duration PeriodOf(const PolicyOptions& options) {
    return options.slice == kNoPreemption
               ? kDefaultPeriod
               : std::min(options.slice, kLongestFairSlice);
  }

  // Word 0 is the virtual time while the task waits, runs or gives way here.
  // Otherwise see Detach().
  void Enqueue(Task& task, Wake why, Instant now) override {
    uint64_t& own = task.policy_words[0];
    if (why == Wake::kPreempted || why == Wake::kYield) {
      running_.Enqueued(task);
      if (why == Wake::kYield && !heap_.Empty())
        Raise(own, heap_.Top()->policy_words[0]);
    } else {
      RaiseFloor(now);
      weight_ += task.weight;
      Attach(task, why);
    }
    heap_.Push(task);
  }

  Task* PickNext(CoreId core, Instant now) override {
    Task* const task = heap_.Pop();
    if (task != nullptr) running_.Started(*task, core, now);
    return task;
  }

  Task* Steal(CoreId, Instant now) override {
    RaiseFloor(now);
    Task* const task = heap_.Pop();
    if (task != nullptr) Detach(*task);
    return task;
  }

  // Its share of the period that all cores of the domain have together.
  Duration Slice(const Task& task) const override {
    const Duration share =
        period_ * cores_ * task.weight / std::max(weight_, int64_t{1});
    return std::max(std::clamp(share, period_ / 4, period_), Duration(1));
  }

  void OnStop(Task& task, CoreId core, Stop why, Duration ran) override {
    running_.Stopped(task, core, why, ran);
    if (why != Stop::kBlocked && why != Stop::kFinished) return;
    RaiseFloor({}, &task);
    Detach(task);
  }

 private:
  static void Raise(uint64_t& time, uint64_t least) {
    if (VirtualDifference(time, least) < 0) time = least;
  }
  static uint64_t Virtual(Duration service, const Task& task) {
    return static_cast<uint64_t>(ToVirtual(service, task.weight));
  }

  // The floor is the least virtual time of all that wait, run or are `leaving`. It
  // never falls.
  void RaiseFloor(Instant now, const Task* leaving = nullptr) {
    const Task* const first = heap_.Empty() ? leaving : heap_.Top();
    bool found = first != nullptr;
    uint64_t least = found ? first->policy_words[0] : 0;
    const auto consider = [&](uint64_t time) {
      if (!found || VirtualDifference(time, least) < 0) least = time;
      found = true;
    };
    if (leaving != nullptr) consider(leaving->policy_words[0]);
    running_.ForEach(now, consider);
    if (found) Raise(floor_, least);
  }

  // The task leaves. Word 0: how far it is ahead of the floor; word 1: the
  // floor, with the domain's number in the bits below a nanosecond.
  void Detach(Task& task) {
    weight_ -= task.weight;
    task.policy_words[0] -= floor_;
    task.policy_words[1] = (floor_ & ~kBelowNano) | (domain_ & kBelowNano);
  }

  void Attach(Task& task, Wake why) {
    auto& [own, mark] = task.policy_words;
    if (why == Wake::kArrival) {
      own = floor_ + Virtual(Slice(task), task);
    } else if (why == Wake::kMigrated ||
               (mark & kBelowNano) != (domain_ & kBelowNano)) {
      own += floor_;
    } else {
      own += mark & ~kBelowNano;  // As if it had never left, however long.
    }
    if (why == Wake::kWakeup) Raise(own, floor_ - Virtual(period_ / 2, task));
  }

  static constexpr uint64_t kBelowNano = kVirtualScale - 1;

  const Duration period_;
  const unsigned cores_;
  const uint64_t domain_;
  RunningTasks running_;
  int64_t weight_ = 0;
  uint64_t floor_ = 0;
  TaskHeap<LeastWordFirst<0>> heap_;  // Intrusive: never allocates.
};

}  // namespace

extern constexpr PolicyInfo kCfs = {
    .name = "cfs",
    .summary = "least service per weight first; all run once in `slice` (50us)",
    .good_at = "long-lived threads that share cores by weight",
    .bad_at = "requests that run once; many cores in one domain",
    .source = "Molnar, CFS Scheduler, Linux 2.6.23, 2007",
    .clock = ClockUse::kRunTime,
    .sets_slices = true,
    .observes_stops = true,
    .make = [](const PolicyOptions& options) -> std::unique_ptr<Policy> {
      return std::make_unique<FairShare>(options);
    },
    .least_slice =
        [](const PolicyOptions& options) {
          return FairShare::PeriodOf(options) / 4;
        },
};

}  // namespace yamanote
