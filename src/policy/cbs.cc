// cbs.cc - the constant bandwidth server: a budget of core time in every period.
//
// Each task of a class with a reservation has the class's `budget` in every `period`,
// and a deadline; the earliest deadline runs first. A task that becomes runnable gets a
// new budget and a deadline one period ahead; it keeps both old ones if it is to use
// what is left at no more than its rate by then. Who has used up its budget is not
// stopped: it gets the next one, and its deadline moves by a period, behind those
// whose deadlines are earlier. So who overruns delays itself, no timer is needed and
// no core idles (the soft variant). A slice that ended late is paid for.
//
// A deadline that is the longest period ahead moves no further: whoever runs by such a one
// has used time that nobody was owed, and need not make up for it. None stays in the
// past either: what an overload took is not made up for.
//
// Tasks of other classes run when no reserved one waits, in the order in which they
// came. Who yields goes behind those, once.
//
// Use it for threads that need a known share of a core by known times, beside others
// that may want any amount. On one core, if budget / period of all that are in the
// domain adds up to 1 at most, a task that keeps to its budget is done a slice after
// its deadline at the latest: slices should be short against periods. On several cores
// of a domain deadlines are met more loosely (edf.cc): prefer a domain per core. A
// request is a task, too: each brings its own budget, so bound how many by `limit`.
//
// Starves: classes without a reservation, while reserved tasks keep the cores busy.
//
// Invariant: reserved_ and rest_ hold exactly the tasks enqueued and not yet picked. Of
// a reserved task word 0 is its deadline in ns, word 1 what is left of its budget, above
// zero unless it has run since it was enqueued. Work-conserving.
//
// Source: Abeni and Buttazzo, "Integrating Multimedia Applications in Hard Real-Time
// Systems", RTSS 1998 (the rules at wake-up and at exhaustion; isolation). Both bounds
// of the deadline are ours.

#include <algorithm>

#include "yamanote/policy.h"
#include "yamanote/task_heap.h"
#include "yamanote/task_queue.h"

namespace yamanote {
namespace {

// As in rr.cc: without slices the order could act only when tasks stop by themselves.
constexpr Duration kDefaultSlice = std::chrono::microseconds(20);

class ConstantBandwidth final : public Policy {
 public:
  explicit ConstantBandwidth(const PolicyOptions& options)
      : slice_(SliceOf(options)),
        least_slice_(LeastSlice(options)),
        rejoin_(options.rejoin),
        classes_(options.classes) {
    if (classes_.empty()) classes_.emplace_back();
    for (const ClassOptions& one : classes_)
      longest_period_ = std::max(longest_period_, one.period);
  }

  // A rest of a budget that is less is not worth a switch: an eighth of the slice or
  // of the smallest budget.
  static Duration LeastSlice(const PolicyOptions& options) {
    Duration least = SliceOf(options);
    for (const ClassOptions& one : options.classes)
      if (one.Reserves()) least = std::min(least, one.budget);
    return std::max(least / 8, Duration(1));
  }

  void Enqueue(Task& task, Wake why, Instant now) override {
    if (!ClassOf(task).Reserves()) {
      if (why == Wake::kPreempted && rejoin_ == Rejoin::kHead) {
        rest_.PushFront(task);
      } else {
        rest_.PushBack(task);
      }
      return;
    }
    if (why == Wake::kArrival) task.policy_words = {};
    Postpone(task, now);
    if (why != Wake::kPreempted && why != Wake::kMigrated) Renew(task, now);
    if (why == Wake::kYield) {
      rest_.PushBack(task);
    } else {
      reserved_.Push(task);
    }
  }

  Task* PickNext(CoreId, Instant now) override {
    if (Task* const task = reserved_.Pop()) return task;
    Task* const task = rest_.PopFront();
    // It yielded, and may have waited beyond its deadline.
    if (task != nullptr && ClassOf(*task).Reserves()) Renew(*task, now);
    return task;
  }

  // Not the whole budget at once: somebody with an earlier deadline may come.
  Duration Slice(const Task& task) const override {
    if (!ClassOf(task).Reserves()) return slice_;
    return std::clamp(Duration(Left(task)), least_slice_, slice_);
  }

  void OnStop(Task& task, CoreId, Stop, Duration ran) override {
    if (ClassOf(task).Reserves())
      task.policy_words[1] -= static_cast<uint64_t>(ToNanos(ran));
  }

 private:
  static Duration SliceOf(const PolicyOptions& options) {
    return options.slice == kNoPreemption ? kDefaultSlice : options.slice;
  }

  const ClassOptions& ClassOf(const Task& task) const {
    const size_t c = task.request_class;
    return classes_[c < classes_.size() ? c : 0];
  }

  static int64_t Left(const Task& task) {
    return static_cast<int64_t>(task.policy_words[1]);
  }
  static Instant Deadline(const Task& task) {
    return FromNanos(static_cast<int64_t>(task.policy_words[0]));
  }
  static void Set(Task& task, Instant deadline, Duration left) {
    task.policy_words = {static_cast<uint64_t>(ToNanos(deadline)),
                         static_cast<uint64_t>(ToNanos(left))};
  }

  // It has used up its budget, or that of several periods.
  void Postpone(Task& task, Instant now) const {
    const ClassOptions& own = ClassOf(task);
    const Duration left(Left(task));
    if (left > Duration(0)) return;
    const int64_t used = 1 - left / own.budget;
    const Duration room = now + longest_period_ - Deadline(task);
    const int64_t most =
        room <= Duration(0) ? 0 : 1 + (room - Duration(1)) / own.period;
    const Instant next = Deadline(task) + std::min(used, most) * own.period;
    Set(task, std::max(next, now), left + used * own.budget);
  }

  // It becomes runnable.
  void Renew(Task& task, Instant now) const {
    const ClassOptions& own = ClassOf(task);
    const auto until = static_cast<double>(ToNanos(Deadline(task) - now));
    const double rate = static_cast<double>(ToNanos(own.budget)) /
                        static_cast<double>(ToNanos(own.period));
    if (until <= 0 || static_cast<double>(Left(task)) >= until * rate)
      Set(task, now + own.period, own.budget);
  }

  struct EarlierDeadline {
    bool operator()(const Task& a, const Task& b) const {
      return a.policy_words[0] < b.policy_words[0];
    }
  };

  const Duration slice_;
  const Duration least_slice_;
  const Rejoin rejoin_;
  std::vector<ClassOptions> classes_;  // Sized at construction.
  Duration longest_period_{0};
  // Intrusive both: never allocate.
  TaskHeap<EarlierDeadline> reserved_;
  TaskQueue rest_;
};

}  // namespace

extern constexpr PolicyInfo kCbs = {
    .name = "cbs",
    .summary = "a budget in each period for classes that reserve; then others",
    .good_at = "threads that need a known share by known times, beside others",
    .bad_at =
        "shares that add up to more than the cores; requests without limit",
    .source = "Abeni and Buttazzo, Integrating Multimedia Applications, 1998",
    .clock = ClockUse::kRunTime,
    .starves = "classes without a reservation, while reserved tasks want all",
    .sets_slices = true,
    .observes_stops = true,
    .make = [](const PolicyOptions& options) -> std::unique_ptr<Policy> {
      return std::make_unique<ConstantBandwidth>(options);
    },
    .least_slice = &ConstantBandwidth::LeastSlice,
};

}  // namespace yamanote
