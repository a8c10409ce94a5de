// lrtf.cc - least run time first, on a core near the one where the task last ran.
//
// As las: the task that has run least goes first, equals in the order in which they
// came. But a core takes, of the eight that have run least, the one that it ran
// itself; else one that last ran on a core with the same last-level cache, else with the
// same memory; one that has not run yet is at home everywhere. The first of them is
// taken anyhow when it has waited for 100 us: by then moving costs less than waiting on.
// No core idles meanwhile.
//
// Use it for threads on many cores with several caches, in one queue for all: what a
// thread has in a cache is worth more than its turn. Where a domain is one core it is
// las, which is cheaper. A slice shorter than 100 us may end in vain: who has just run
// there goes on before one that ran elsewhere. Threads that live long have run much
// and go last.
//
// Starves: a long task waits for as long as shorter ones keep the cores busy.
//
// Invariant: few_[0 .. count_) and heap_ hold exactly the tasks enqueued and not yet
// picked; few_ is in order, goes before all of heap_, and is full unless heap_ is empty.
// Word 0 of each is its place in the order of coming, word 1 when it came, in ns.
// Work-conserving.
//
// Source: Humphries et al., "ghOSt: Fast & Flexible User-Space Delegation of Linux
// Scheduling", SOSP 2021, section 4.4 (Google Search: a heap by run time, nearest cores
// first, 100 us of patience). There a thread chooses among idle cores, and one may idle
// beside a thread that waits for another; here a core chooses among threads. That it looks
// at eight is ours.

#include <algorithm>
#include <array>

#include "yamanote/policy.h"
#include "yamanote/task_heap.h"

namespace yamanote {
namespace {

// As in las.cc.
constexpr Duration kDefaultSlice = std::chrono::microseconds(20);
constexpr Duration kPatience = std::chrono::microseconds(100);
constexpr size_t kFew = 8;

class LeastRunTime final : public Policy {
 public:
  explicit LeastRunTime(const PolicyOptions& options)
      : slice_(options.slice == kNoPreemption ? kDefaultSlice : options.slice),
        locality_(options.locality) {}

  void Enqueue(Task& task, Wake, Instant now) override {
    task.policy_words = {++enqueued_, static_cast<uint64_t>(ToNanos(now))};
    if (count_ == kFew) {
      if (!RanLess()(task, *few_.back())) return heap_.Push(task);
      heap_.Push(*few_[--count_]);
    }
    size_t place = count_++;
    for (; place > 0 && RanLess()(task, *few_[place - 1]); --place)
      few_[place] = few_[place - 1];
    few_[place] = &task;
  }

  Task* PickNext(CoreId core, Instant now) override {
    if (count_ == 0) return nullptr;
    const size_t picked =
        now - EnqueuedAt(*few_[0]) > kPatience ? 0 : Nearest(core);
    Task* const task = few_[picked];
    std::copy(few_.begin() + picked + 1, few_.begin() + count_,
              few_.begin() + picked);
    --count_;
    if (!heap_.Empty()) few_[count_++] = heap_.Pop();
    return task;
  }

  Duration Slice(const Task&) const override { return slice_; }

 private:
  struct RanLess {
    bool operator()(const Task& a, const Task& b) const {
      if (a.attained != b.attained) return a.attained < b.attained;
      return a.policy_words[0] < b.policy_words[0];
    }
  };

  static Instant EnqueuedAt(const Task& task) {
    return FromNanos(static_cast<int64_t>(task.policy_words[1]));
  }

  // Of few_, in which there is one; among equals the first.
  size_t Nearest(CoreId core) const {
    size_t best = 0;
    unsigned shortest = Distance(few_[0]->last_core, core);
    for (size_t i = 1; i < count_ && shortest > 0; ++i) {
      const unsigned distance = Distance(few_[i]->last_core, core);
      if (distance >= shortest) continue;
      best = i;
      shortest = distance;
    }
    return best;
  }

  unsigned Distance(CoreId from, CoreId to) const {
    if (from == to || from == kNoCore) return 0;
    if (locality_.empty()) return 1;
    if (from >= locality_.size() || to >= locality_.size()) return 3;
    if (locality_[from].cache == locality_[to].cache) return 1;
    return locality_[from].node == locality_[to].node ? 2 : 3;
  }

  const Duration slice_;
  const std::vector<CoreLocality> locality_;
  uint64_t enqueued_ = 0;
  size_t count_ = 0;
  std::array<Task*, kFew> few_{};
  TaskHeap<RanLess> heap_;  // Intrusive: never allocates.
};

}  // namespace

extern constexpr PolicyInfo kLrtf = {
    .name = "lrtf",
    .summary = "least run time first, near where it ran: waits 100us for that",
    .good_at = "threads on many cores with several caches, in one queue",
    .bad_at = "a domain per core, and threads that run long",
    .source = "Humphries et al., ghOSt (policy for Google Search), SOSP 2021",
    .clock = ClockUse::kRunTime,
    .starves = "a long task, while shorter ones come",
    .sets_slices = true,
    .uses_locality = true,
    .make = [](const PolicyOptions& options) -> std::unique_ptr<Policy> {
      return std::make_unique<LeastRunTime>(options);
    },
};

}  // namespace yamanote
