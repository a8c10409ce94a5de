// darc.cc - cores reserved for short classes, by what classes were seen to need.
//
// A profile is made of every 10,000 tasks that finish: of each class the mean
// service time and the share of all work. Classes whose means are alike (within
// a fifth) form a group. Groups in order of their means, the shortest first, get
// as many cores as their share of the work, rounded, at least one while there are
// any; the longest also what rounding left. A core serves its own group and
// shorter ones, the shortest first, so a short request never waits for a long
// one, and a burst of them spreads over the longer groups' cores.
//
// The last core spills over: it serves all classes, first come, first served. So
// nobody starves: not a class that the profile did not see, not a group that got
// no core. Before the first profile, and with one core, every core does so. A new
// profile counts if a class's share moved by a tenth or classes came or went.
//
// Use it when classes are known, differ much in length and share several cores:
// cores that idle for short ones pay where slices cost too much. A core per
// domain makes it fifo. Picking costs time in proportion to the number of classes.
//
// Invariant: classes_[c].waiting holds exactly the tasks of class c enqueued and
// not yet picked. Not work-conserving: a core idles while only longer groups wait.
//
// Source: Demoulin et al., "When Idling is Ideal: Optimizing Tail-Latency for
// Heavy-Tailed Datacenter Workloads with Persephone", SOSP 2021 (typed queues,
// reservation by share of work, spill-over core, tenth). Its published code: a
// fifth, rounding, 50,000 tasks for a profile. That the last core takes turns is
// ours; there it serves what its group left.

#include <algorithm>
#include <cmath>
#include <utility>

#include "yamanote/policy.h"
#include "yamanote/task_queue.h"

namespace yamanote {
namespace {

// A class of one request in a hundred is seen a hundred times. A fifth of the
// published number, which at 1,000 requests a second takes most of a minute.
constexpr uint64_t kProfile = 10'000;
constexpr double kAlike = 0.2;
constexpr double kMoved = 0.1;

class Darc final : public Policy {
 public:
  explicit Darc(const PolicyOptions& options)
      : slice_(options.slice),
        rejoin_(options.rejoin),
        cores_(options.cores),
        first_core_(options.first_core),
        classes_(std::max<size_t>(options.classes.size(), 1)),
        longest_(options.cores, kAny) {
    for (Class& c : classes_) by_mean_.push_back(&c);
  }

  // Word 0 is the task's place in the order of arrival.
  void Enqueue(Task& task, Wake why, Instant) override {
    TaskQueue& waiting = ClassOf(task).waiting;
    if (why == Wake::kPreempted && rejoin_ == Rejoin::kHead) {
      waiting.PushFront(task);
    } else {
      task.policy_words[0] = ++arrivals_;
      waiting.PushBack(task);
    }
  }

  Task* PickNext(CoreId core, Instant) override {
    const size_t c = NextClass(core);
    return c == kNone ? nullptr : classes_[c].waiting.PopFront();
  }

  bool HasWork(CoreId core) const override { return NextClass(core) != kNone; }

  Duration Slice(const Task&) const override { return slice_; }

  void OnStop(Task& task, CoreId, Stop why, Duration) override {
    if (why != Stop::kFinished) return;
    Class& finished = ClassOf(task);
    ++finished.count;
    finished.work += static_cast<double>(ToNanos(task.attained));
    if (++profiled_ == kProfile) EndProfile();
  }

 private:
  static constexpr size_t kNone = SIZE_MAX;
  // A group's number counts from the shortest. kAny: of a class not seen, and
  // what a core serves that serves all.
  static constexpr size_t kAny = SIZE_MAX;

  struct Class {
    double Mean() const { return work / static_cast<double>(count); }

    TaskQueue waiting;
    size_t group = kAny;
    double demand = 0;   // Cores, by the last profile that counted.
    uint64_t count = 0;  // Tasks that finished in this profile,
    double work = 0;     // their service in ns.
  };

  Class& ClassOf(const Task& task) {
    const size_t c = task.request_class;
    return classes_[c < classes_.size() ? c : 0];
  }

  // The class whose head `core` runs next: of the shortest group, or of any for
  // a core that serves all, the one that came first.
  size_t NextClass(CoreId core) const {
    const CoreId index = core - first_core_;
    const size_t longest = index < cores_ ? longest_[index] : kAny;
    size_t best = kNone;
    std::pair<size_t, uint64_t> first;
    for (size_t c = 0; c < classes_.size(); ++c) {
      const Class& candidate = classes_[c];
      const Task* const head = candidate.waiting.Front();
      if (head == nullptr || candidate.group > longest) continue;
      const std::pair turn(longest == kAny ? 0 : candidate.group,
                           head->policy_words[0]);
      if (best != kNone && first < turn) continue;
      best = c;
      first = turn;
    }
    return best;
  }

  void EndProfile() {
    double work = 0;
    for (const Class& c : classes_) work += c.work;
    const double core_work = work / cores_;
    bool moved = false;
    for (const Class& c : classes_)
      moved |= std::abs(c.work - c.demand * core_work) >
               kMoved * c.demand * core_work;
    if (moved) Reserve(core_work);
    for (Class& c : classes_) c.count = 0, c.work = 0;
    profiled_ = 0;
  }

  // `core_work` is what one core does of the profile's work.
  void Reserve(double core_work) {
    for (Class& c : classes_) c.group = kAny, c.demand = c.work / core_work;
    const auto seen =
        std::partition(by_mean_.begin(), by_mean_.end(),
                       [](const Class* c) { return c->count > 0; });
    std::sort(by_mean_.begin(), seen, [](const Class* a, const Class* b) {
      return a->Mean() < b->Mean();
    });
    size_t group = 0;
    unsigned reserved = 0;
    for (auto next = by_mean_.begin(); next != seen; ++group) {
      const double alike = (*next)->Mean() * (1 + kAlike);
      double demand = 0;
      for (; next != seen && (*next)->Mean() <= alike; ++next) {
        (*next)->group = group;
        demand += (*next)->demand;
      }
      const auto cores =
          std::max(1u, static_cast<unsigned>(std::lround(demand)));
      for (unsigned i = 0; i < cores && reserved < cores_; ++i)
        longest_[reserved++] = group;
    }
    while (reserved < cores_) longest_[reserved++] = group - 1;
    longest_.back() = kAny;
  }

  const Duration slice_;
  const Rejoin rejoin_;
  const unsigned cores_;
  const CoreId first_core_;
  uint64_t arrivals_ = 0;
  uint64_t profiled_ = 0;
  // All sized at construction.
  std::vector<Class> classes_;
  std::vector<Class*> by_mean_;
  std::vector<size_t>
      longest_;  // By core: the longest group it serves, or kAny.
};

}  // namespace

extern constexpr PolicyInfo kDarc = {
    .name = "darc",
    .summary =
        "cores reserved for short classes by what they were seen to need",
    .good_at = "short requests beside very long ones without slices",
    .bad_at = "a domain per core, one class, or classes that are alike",
    .source = "Demoulin et al., When Idling is Ideal (Persephone), SOSP 2021",
    .clock = ClockUse::kRunTime,
    .work_conserving = false,
    .observes_stops = true,
    .make = [](const PolicyOptions& options) -> std::unique_ptr<Policy> {
      return std::make_unique<Darc>(options);
    },
};

}  // namespace yamanote
