// eevdf.cc - earliest eligible virtual deadline first.
//
// Every task asks for one request (`slice`, 20 us unless set) after another. Its
// virtual time is the service it has had divided by its weight; the domain's is
// the weighted mean of all that wait or run. The difference, times the weight, is
// the lag: what the task is owed. A task that is owed nothing negative is
// eligible; of those the one runs whose request should be over first, virtual
// time + request / weight. So shares are as in cfs, and in steady conditions
// nobody's lag leaves (-request, +request).
//
// A new task comes with lag 0. One that blocks or changes domains keeps its lag,
// of credit at most one request, of debt at most ten: the next wake-up neither
// buys what was slept nor forgives what was taken. Who finishes takes its debt
// along: charged to who remains, as the paper has it, a stream of short tasks holds
// virtual time back, and with it everybody who is not eligible. Who yields gives
// up the rest of its request; a rest of less than an eighth is not worth a switch.
//
// Use it where cfs fits and latency matters too: in steady conditions a request is
// over at most one other after its deadline. It costs more: two heaps, tasks that
// are not eligible by virtual time and the others by deadline. A task moves to the
// second when its time has come and back only if it is first there while a join
// or departure has put the domain's time back; a move is a push and a pop.
//
// Invariant: pending_ and eligible_ hold exactly the tasks enqueued and not yet
// picked; after Advance() what is eligible is in eligible_. now_ * weight_ + rest_
// is the sum of weight * virtual time over all that wait or run, and of the debts
// that went along.
// Work-conserving: if nobody is eligible (several cores), the next to be.
//
// Source: Stoica and Abdel-Wahab, "Earliest Eligible Virtual Deadline First",
// Old Dominion University TR 95-22, 1995 (the rule; the bound of the lag; joins
// and departures move the virtual time by the lag they bring or take).

#include <algorithm>

#include "policy/virtual_time.h"
#include "yamanote/policy.h"
#include "yamanote/task_heap.h"

namespace yamanote {
namespace {

constexpr Duration kDefaultRequest = std::chrono::microseconds(20);
constexpr int64_t kMostDebt = 10;  // Requests.

class Eevdf final : public Policy {
 public:
  static Duration RequestOf(const PolicyOptions& options) {
    return options.slice == kNoPreemption
               ? kDefaultRequest
               : std::min(options.slice, kLongestFairSlice);
  }

  explicit Eevdf(const PolicyOptions& options)
      : request_(RequestOf(options)), running_(options) {}

  // While the task waits, runs or gives way here word 0 is its virtual time and
  // word 1 its deadline. Otherwise word 0 is its lag / weight.
  void Enqueue(Task& task, Wake why, Instant now) override {
    if (why == Wake::kPreempted || why == Wake::kYield) {
      running_.Enqueued(task);
      Advance(now);
      if (why == Wake::kYield) Ask(task);
    } else {
      Advance(now);
      if (why == Wake::kArrival) task.policy_words[0] = 0;
      Join(task);
    }
    if (Lag(task) >= 0) {
      eligible_.Push(task);
    } else {
      pending_.Push(task);
    }
  }

  Task* PickNext(CoreId core, Instant now) override {
    Advance(now);
    Task* const task = Pop();
    if (task != nullptr) running_.Started(*task, core, now);
    return task;
  }

  Task* Steal(CoreId, Instant now) override {
    Advance(now);
    Task* const task = Pop();
    if (task != nullptr) Leave(*task);
    return task;
  }

  // The rest of its request.
  Duration Slice(const Task& task) const override {
    const int64_t rest =
        VirtualDifference(task.policy_words[1], task.policy_words[0]);
    return Duration(std::max<int64_t>(rest * task.weight / kVirtualScale, 1));
  }

  void OnStop(Task& task, CoreId core, Stop why, Duration ran) override {
    running_.Stopped(task, core, why, ran);
    Advance({});
    if (Slice(task) <= request_ / 8) Ask(task);
    // Its debt goes with it: nobody is left to pay, and nobody else has to.
    if (why == Stop::kFinished && Lag(task) < 0) task.policy_words[0] = now_;
    if (why == Stop::kBlocked || why == Stop::kFinished) Leave(task);
  }

 private:
  // Of the task, divided by its weight.
  int64_t Lag(const Task& task) const {
    return VirtualDifference(now_, task.policy_words[0]);
  }

  void Ask(Task& task) const {
    task.policy_words[1] =
        task.policy_words[0] +
        static_cast<uint64_t>(ToVirtual(request_, task.weight));
  }

  // Its lag moves the mean towards it, so it starts further off to keep it.
  // Alone it is owed nothing and owes nobody.
  void Join(Task& task) {
    const int64_t request = ToVirtual(request_, task.weight);
    int64_t lag = std::clamp(static_cast<int64_t>(task.policy_words[0]),
                             -kMostDebt * request, request);
    lag = weight_ == 0 ? 0 : lag + lag * task.weight / weight_;
    task.policy_words[0] = now_ - static_cast<uint64_t>(lag);
    weight_ += task.weight;
    AddToSum(-lag * task.weight);
    Ask(task);
  }

  void Leave(Task& task) {
    const int64_t lag = Lag(task);
    weight_ -= task.weight;
    AddToSum(lag * task.weight);
    task.policy_words[0] = static_cast<uint64_t>(lag);
  }

  // By what ran since.
  void Advance(Instant now) {
    AddToSum(running_.TakeGrowth(now));
    while (!pending_.Empty() && Lag(*pending_.Top()) >= 0)
      eligible_.Push(*pending_.Pop());
  }

  // now_ is the sum divided by weight_; what it is of nobody does not matter.
  void AddToSum(int64_t more) {
    rest_ += more;
    if (rest_ >= 0 && rest_ < weight_) return;
    const int64_t weight = std::max(weight_, int64_t{1});
    const int64_t whole = rest_ / weight - (rest_ % weight < 0 ? 1 : 0);
    now_ += static_cast<uint64_t>(whole);
    rest_ -= whole * weight;
  }

  Task* Pop() {
    while (Task* const task = eligible_.Pop()) {
      if (Lag(*task) >= 0) return task;
      pending_.Push(*task);
    }
    return pending_.Pop();
  }

  const Duration request_;
  RunningTasks running_;
  int64_t weight_ = 0;
  uint64_t now_ = 0;  // Virtual: the mean, rounded down.
  int64_t rest_ = 0;  // 0 .. weight_ - 1; 0 if that is 0.
  // Intrusive both: never allocate.
  TaskHeap<LeastWordFirst<0>> pending_;   // By virtual time.
  TaskHeap<LeastWordFirst<1>> eligible_;  // By deadline.
};

}  // namespace

extern constexpr PolicyInfo kEevdf = {
    .name = "eevdf",
    .summary = "of those owed service, the earliest virtual deadline first",
    .good_at = "sharing by weight with prompt turns for who used little",
    .bad_at = "requests that run once; many cores in one domain",
    .source =
        "Stoica and Abdel-Wahab, Earliest Eligible Virtual Deadline First, "
        "1995",
    .clock = ClockUse::kRunTime,
    .sets_slices = true,
    .observes_stops = true,
    .make = [](const PolicyOptions& options) -> std::unique_ptr<Policy> {
      return std::make_unique<Eevdf>(options);
    },
    // What is left of a request; less than an eighth is not asked for.
    .least_slice =
        [](const PolicyOptions& options) {
          return Eevdf::RequestOf(options) / 8;
        },
};

}  // namespace yamanote
