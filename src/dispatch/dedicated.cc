// dedicated.cc - one domain that core 0, the dispatcher, calls for all cores.
//
// Use it with slices and from about four cores on: no core waits for a lock, and
// a worker with k > 1 slots finds its next task without asking. It costs a core
// that runs tasks only when every slot is taken.
//
// The way of a task (each step names the cache lines that change cores):
//
//   1. Any thread pushes it into the inbox; the dispatcher itself enqueues it
//      directly.                               [inbox]
//   2. Dispatch() drains the inbox into the policy. [the task itself]
//   3. Dispatch() picks the task that the policy wants next for the worker with
//      the fewest tasks, if one has fewer than k, and writes it and its slice
//      into that worker's next entry. The lap bit in the entry, flipped each
//      time round, says that it is new (release).   [down]
//   4. PickNext() on the worker sees its next entry change (acquire) and runs
//      the task.
//   5. The worker's following PickNext() or Exchange() counts it as completed
//      (release); a task that gave way goes through the inbox again. The
//      dispatcher sees the count when it next looks for room (acquire).   [up]
//
// That is four lines that the dispatcher sends or receives; 1 is shared by all
// that arrived together, and absent if core 0 reads the network.
//
// An entry is written again only after k later completions, so its reader is
// done with it.
//
// The dispatcher stays awake while any worker has a task; it parks when all is
// idle. So a worker need not wake it in step 5: a task that gave way is in the
// inbox before the completion is counted, and HasWork() looks at the counts
// before it looks at the inbox.
//
// Invariants: `sent - completed` of a worker is at most k; only core 0 calls the
// policy (others call OnStop(), if the order observes it: then there is a lock).
//
// Sources: Kaffes et al., "Shinjuku", NSDI 2019 (k = 1, lines per pair of
// cores); Iyer et al., "Achieving Microsecond-Scale Tail Latency Efficiently
// with Approximate Optimal Scheduling" (Concord), SOSP 2023 (JBSQ(k), the
// dispatcher that works).

#include <algorithm>
#include <atomic>
#include <memory>

#include "base/check.h"
#include "dispatch/core_ranking.h"
#include "dispatch/domain.h"
#include "dispatch/inbox.h"
#include "dispatch/placements.h"

namespace yamanote::dispatch {
namespace {

constexpr CoreId kDispatcher = 0;
constexpr uint64_t kNotAWorker = UINT64_MAX;

// How long the dispatcher runs a task before it looks after the others. A worker with one
// slot does nothing from the end of its task until then, so it must not be long: simulated
// on 6 cores at 75% with 99% of 5 us and 1% of 100, looks every 5 us are unstable with one
// slot; p99 slowdown 16 with 2 us, 5.1 with 1 us, 3.9 with 0.2. With two slots 3.2, 3.2 and
// 3.3 with 5, 2 and 1 us.
constexpr Duration kDispatcherSlice = std::chrono::microseconds(5);
constexpr Duration kSingleSlotDispatcherSlice = std::chrono::microseconds(1);

// Four to a cache line, so that one transfer brings a task and its slice.
struct Entry {
  std::atomic<uintptr_t> task_and_lap{0};
  Duration slice{0};  // Guarded by task_and_lap.
};
static_assert(base::kCacheLine % sizeof(Entry) == 0);

// Written by one thread; whoever keeps time reads it in HasWork(), where a stale
// value costs one preemption too many or one late. Hence relaxed.
template <typename T>
class Own {
 public:
  explicit Own(T value) : value_(value) {}
  // NOLINTNEXTLINE(google-explicit-constructor)
  operator T() const { return value_.load(std::memory_order_relaxed); }
  void operator=(T value) { value_.store(value, std::memory_order_relaxed); }
  void operator++() { *this = *this + 1; }

 private:
  std::atomic<T> value_;
};

struct Worker {
  // Down: written by the dispatcher, read by the worker.
  alignas(base::kNoSharing) Entry entries[kMaxSlots];

  // The dispatcher's own.
  alignas(base::kNoSharing) Own<uint64_t> sent{0};

  // The worker's own.
  alignas(base::kNoSharing) Own<uint64_t> taken{0};
  Own<bool> busy{false};  // It runs a task of its slots.
  Duration slice{0};      // Of that task.

  // Up: written by the worker, read by the dispatcher.
  alignas(base::kNoSharing) std::atomic<uint64_t> completed{0};
};

class Dedicated final : public Placement {
 public:
  Dedicated(const PolicyInfo& order, const PolicyOptions& options,
            unsigned slots, unsigned cores, Callers callers)
      : Placement(order, options),
        cores_(cores),
        slots_(slots),
        dispatcher_slice_(slots == 1 ? kSingleSlotDispatcherSlice
                                     : kDispatcherSlice),
        observes_stops_(order.observes_stops),
        workers_(std::make_unique<Worker[]>(cores)),
        outstanding_(
            callers == Callers::kOneThread && cores >= kLeastRanked
                ? std::make_unique<CoreRanking<uint64_t>>(cores, kNotAWorker)
                : nullptr),
        domain_(order, options,
                /*shared=*/order.observes_stops &&
                    callers == Callers::kManyThreads) {
    for (CoreId core = kDispatcher + 1; core < cores_; ++core) Rank(core);
  }

  Placed Enqueue(Task& task, Wake why, uint64_t /*flow*/, CoreId from,
                 Instant now) override {
    if (from == kDispatcher) {
      domain_.Enqueue(task, why, now);
      return {};
    }
    inbox_.Push(task, why);
    return {.notify = Notify::kCore, .core = kDispatcher};
  }

  Task* PickNext(CoreId core, Instant now) override {
    if (core == kDispatcher) {
      DrainInbox(now);
      // Workers first: they come back for more, the dispatcher can't be asked.
      if (domain_.Waiting() == 0 || WorkerWithRoom() != kNoCore) return nullptr;
      return domain_.PickNext(core, now);
    }
    ReportCompletion(core);
    return Take(workers_[core]);
  }

  Task* Exchange(Task& current, Wake why, CoreId core, Instant now) override {
    if (core == kDispatcher) {
      DrainInbox(now);
      if (domain_.Waiting() == 0) return &current;
      domain_.Enqueue(current, why, now);
      return PickNext(core, now);
    }
    if (!Waits(core)) return &current;
    inbox_.Push(current, why);
    return PickNext(core, now);
  }

  void Leave(CoreId core) override { ReportCompletion(core); }

  bool HasWork(CoreId core) const override {
    if (core != kDispatcher) return Waits(core);
    return AnyOutstanding() || SomethingWaits();
  }

  void OnStop(Task& task, CoreId core, Stop why, Duration ran) override {
    domain_.OnStop(task, core, why, ran);
  }
  bool ObservesStops() const override { return observes_stops_; }

  // The dispatcher's own tasks always have one.
  Duration Quantum(CoreId core) const override {
    return core == kDispatcher
               ? std::min(Placement::Quantum(core), dispatcher_slice_)
               : Placement::Quantum(core);
  }

  Duration Slice(const Task& task, CoreId core) override {
    if (core != kDispatcher) return workers_[core].slice;
    return std::min(domain_.Slice(task), dispatcher_slice_);
  }

  bool KeepsTime(CoreId core) const override { return core == kDispatcher; }

  Duration PassInterval(CoreId core) const override {
    return core == kDispatcher ? kDispatcherSlice
                               : Placement::PassInterval(core);
  }

  Placed Dispatch(CoreId core, Instant now) override {
    if (core != kDispatcher) return {};
    DrainInbox(now);
    if (domain_.Waiting() == 0) return {};
    CoreId worker = WorkerWithRoom();
    if (worker == kNoCore) return {};
    Task* task = domain_.PickNext(worker, now);
    // The order keeps back from that one what waits; perhaps not from another.
    for (CoreId other = kDispatcher + 1; task == nullptr && other < cores_;
         ++other) {
      if (other == worker || Outstanding(workers_[other]) >= slots_) continue;
      task = domain_.PickNext(other, now);
      if (task != nullptr) worker = other;
    }
    if (task == nullptr) return {};
    Send(workers_[worker], *task);
    if (outstanding_ != nullptr) {
      ++all_outstanding_;
      Rank(worker);
    }
    return {.notify = Notify::kCore, .core = worker};
  }

 private:
  // The lap bit: 1 on the first time round, 0 on the second, and so on; entries
  // start as 0, so nothing is new before it is written.
  uintptr_t LapBit(uint64_t index) const { return (index / slots_ + 1) & 1; }

  void Send(Worker& worker, Task& task) {
    Entry& entry = worker.entries[worker.sent % slots_];
    entry.slice = domain_.Slice(task);
    // Release: pairs with Take().
    entry.task_and_lap.store(
        reinterpret_cast<uintptr_t>(&task) | LapBit(worker.sent),
        std::memory_order_release);
    ++worker.sent;
  }

  bool NextIsNew(const Worker& worker, uintptr_t task_and_lap) const {
    return (task_and_lap & 1) == LapBit(worker.taken);
  }

  Task* Take(Worker& worker) {
    const Entry& entry = worker.entries[worker.taken % slots_];
    // Acquire: pairs with Send().
    const uintptr_t task_and_lap =
        entry.task_and_lap.load(std::memory_order_acquire);
    if (!NextIsNew(worker, task_and_lap)) return nullptr;
    worker.slice = entry.slice;
    worker.busy = true;
    ++worker.taken;
    // NOLINTNEXTLINE(performance-no-int-to-ptr)
    return reinterpret_cast<Task*>(task_and_lap & ~uintptr_t{1});
  }

  void ReportCompletion(CoreId core) {
    Worker& worker = workers_[core];
    if (!worker.busy) return;
    worker.busy = false;
    // Release: pairs with Outstanding().
    worker.completed.store(worker.completed.load(std::memory_order_relaxed) + 1,
                           std::memory_order_release);
    if (outstanding_ != nullptr) {
      --all_outstanding_;
      Rank(core);
    }
  }

  // Tasks that `worker` holds, the running one included. The dispatcher alone.
  static uint64_t Outstanding(const Worker& worker) {
    // Acquire: pairs with ReportCompletion(), so that a reused entry was read.
    return worker.sent - worker.completed.load(std::memory_order_acquire);
  }

  // The worker with the fewest tasks if it may get another, else kNoCore. The
  // lowest number among equals: the others may sleep on.
  CoreId WorkerWithRoom() const {
    if (outstanding_ != nullptr) {
      const CoreId first = outstanding_->Best();
      return outstanding_->key(first) < slots_ ? first : kNoCore;
    }
    CoreId best = kNoCore;
    uint64_t fewest = slots_;
    for (CoreId core = kDispatcher + 1; core < cores_; ++core) {
      const uint64_t outstanding = Outstanding(workers_[core]);
      if (outstanding >= fewest) continue;
      best = core;
      fewest = outstanding;
      if (fewest == 0) break;
    }
    return best;
  }

  bool AnyOutstanding() const {
    if (outstanding_ != nullptr) return all_outstanding_ != 0;
    for (CoreId worker = kDispatcher + 1; worker < cores_; ++worker) {
      if (Outstanding(workers_[worker]) != 0) return true;
    }
    return false;
  }

  void Rank(CoreId core) {
    if (outstanding_ != nullptr)
      outstanding_->Set(core, Outstanding(workers_[core]));
  }

  void DrainInbox(Instant now) {
    inbox_.Drain(
        [this, now](Task& task, Wake why) { domain_.Enqueue(task, why, now); });
  }

  bool SomethingWaits() const {
    return domain_.Waiting() != 0 || !inbox_.Empty();
  }

  // True if a worker that gave way might run something else, now or soon.
  bool Waits(CoreId core) const {
    const Worker& worker = workers_[core];
    const Entry& entry = worker.entries[worker.taken % slots_];
    return NextIsNew(worker,
                     entry.task_and_lap.load(std::memory_order_relaxed)) ||
           (worker.busy && SomethingWaits());
  }

  // Constant after construction.
  const unsigned cores_;
  const unsigned slots_;
  const Duration dispatcher_slice_;
  const bool observes_stops_;
  const std::unique_ptr<Worker[]> workers_;  // [0] is unused.
  // With one caller: Outstanding() of each, and of all together.
  const std::unique_ptr<CoreRanking<uint64_t>> outstanding_;
  uint64_t all_outstanding_ = 0;

  Domain domain_;    // The dispatcher's.
  TaskInbox inbox_;  // Everybody's.
};

}  // namespace

std::unique_ptr<Placement> MakeDedicated(const PolicyInfo& order,
                                         const PolicyOptions& options,
                                         unsigned slots, unsigned cores,
                                         Callers callers) {
  YAMANOTE_CHECK(cores >= 2, "a dedicated dispatcher needs a second core");
  YAMANOTE_CHECK(slots >= 1 && slots <= kMaxSlots, "slots out of range");
  return std::make_unique<Dedicated>(order, options, slots, cores, callers);
}

}  // namespace yamanote::dispatch
