// per_core.cc - a domain for each core: partitioned, stealing and two-level.
//
//   partitioned  The flow's hash chooses the core; work stays there. Use it when
//                flows are many and alike; one busy flow overloads its core.
//   stealing     As partitioned, but a woken task goes to its waker's core, and
//                an idle core takes from others, a random one first. (ZygOS,
//                Shenango)
//   two-level    The core with the fewest tasks in flight gets a new one; among
//                equals the one whose tasks have had most quanta, for they are
//                likely to finish soon; then the caller itself. A woken task
//                returns to where it last ran. An idle core may take from the
//                longest domain. (Tiny Quanta)
//
// A task that names no flow (flow 0: a spawned thread) starts on its spawner's
// core where idle cores steal, otherwise wherever the placement spreads it.
//
// Where an arbiter hands out the cores, tasks go to those that are held: to the next one
// after that which the flow's hash says, or to the least loaded of them. A core that goes
// hands on what waits there; who enqueues there meanwhile sees that it has gone, or it
// sees the task:
//
//   enqueuer: put the task into the domain; full fence; held? if not, hand on
//   core:     held = false; full fence; hand on
//
// Without stealing only its own core calls a domain, so there is no lock; other
// threads go through the core's inbox. With stealing everybody takes the lock.
//
// Sources: Prekas et al., "ZygOS", SOSP 2017 (idle-loop order); Luo et al.,
// "Efficient Microsecond-scale Blind Scheduling with Tiny Quanta", ASPLOS 2024
// (join the shortest queue, ties to the most serviced quanta).

#include <algorithm>
#include <atomic>
#include <memory>

#include "dispatch/core_ranking.h"
#include "dispatch/domain.h"
#include "dispatch/inbox.h"
#include "dispatch/placements.h"

namespace yamanote::dispatch {
namespace {

// One core's domain and what its load is judged by. The counts are estimates: a
// stale one costs a less good choice of core, never a task. Hence all relaxed.
struct Lane {
  Lane(const PolicyInfo& order, const PolicyOptions& options, bool shared,
       CoreId core)
      : domain(order, options, shared), random(core * 2654435761u + 1) {}

  // Between two looks of a thief, 3 us (worker.h): hand-overs of 0.1 us make 30.
  static constexpr uint32_t kFewPicks = 4;

  Domain domain;
  // Unused if the domain is shared.
  TaskInbox inbox;

  // Written by the core itself.
  alignas(base::kNoSharing) std::atomic<bool> busy{false};  // It runs a task.
  std::atomic<uint32_t> picks{0};
  // picks when a task of this core last spawned or woke one to run here.
  std::atomic<uint32_t> newest_from{UINT32_MAX};
  std::atomic<int64_t> own_quanta{0};
  uint32_t current_quanta = 0;  // Of the running task.
  uint32_t random;              // For the choice of a victim.

  // With Supply::kArbiter: the application has the core. seq_cst, both ways.
  std::atomic<bool> held{false};

  // Written by other cores. own_quanta + others_quanta is the number of quanta
  // that this core's tasks in flight have had.
  alignas(base::kNoSharing) std::atomic<int64_t> others_quanta{0};
  std::atomic<uint32_t> picks_seen{0};  // By the last thief that was declined.

  uint32_t InFlight() const {
    return domain.Waiting() + inbox.Pending() +
           (busy.load(std::memory_order_relaxed) ? 1 : 0);
  }

  int64_t Quanta() const {
    return own_quanta.load(std::memory_order_relaxed) +
           others_quanta.load(std::memory_order_relaxed);
  }

  // By the core itself; a plain addition, for nobody else writes it.
  void AddOwnQuanta(int64_t quanta) {
    own_quanta.store(own_quanta.load(std::memory_order_relaxed) + quanta,
                     std::memory_order_relaxed);
  }

  // By a thief: true if it should leave the only task that waits here. The
  // running task has just spawned or woken it and is likely to give way to it
  // within a microsecond; elsewhere it would miss every line that it shares with
  // its waker. Not if the core has picked little since a thief was last told so:
  // where tasks run for a microsecond each, two cores do more than one.
  bool Keeps() {
    const uint32_t now = picks.load(std::memory_order_relaxed);
    if (domain.Waiting() > 1 ||
        newest_from.load(std::memory_order_relaxed) != now ||
        now - picks_seen.load(std::memory_order_relaxed) < kFewPicks)
      return false;
    picks_seen.store(now, std::memory_order_relaxed);
    return true;
  }

  // xorshift32: any choice will do, as long as it is cheap and repeatable.
  uint32_t Random() {
    random ^= random << 13;
    random ^= random >> 17;
    random ^= random << 5;
    return random;
  }
};

// How much a core is to be avoided by a new task.
struct Load {
  uint32_t in_flight = 0;  // UINT32_MAX: it is not held.
  int64_t quanta = 0;      // The more the better, so it is their negative.
  auto operator<=>(const Load&) const = default;
};

// With one caller: what the lanes say, so that nobody has to look at each.
struct Ranking {
  explicit Ranking(unsigned cores)
      : loads(cores, {.in_flight = UINT32_MAX}), lengths(cores, 0) {}

  CoreRanking<Load> loads;
  CoreRanking<int64_t> lengths;  // Negative: how many wait.
};

class PerCore final : public Placement {
 public:
  PerCore(const PolicyInfo& order, const PolicyOptions& options,
          PlacementKind kind, Stealing stealing, unsigned cores,
          Callers callers, Supply supply)
      : Placement(order, options),
        cores_(cores),
        kind_(kind),
        stealing_(stealing),
        shared_(stealing != Stealing::kNone),
        balanced_(kind == PlacementKind::kTwoLevel),
        observes_stops_(order.observes_stops),
        held_change_(supply == Supply::kArbiter),
        lanes_(std::make_unique<std::unique_ptr<Lane>[]>(cores)),
        ranking_(callers == Callers::kOneThread && cores >= kLeastRanked &&
                         (shared_ || balanced_)
                     ? std::make_unique<Ranking>(cores)
                     : nullptr) {
    for (CoreId core = 0; core < cores; ++core) {
      PolicyOptions own = options;
      own.first_core = core;
      lanes_[core] = std::make_unique<Lane>(
          order, own, shared_ && callers == Callers::kManyThreads, core);
      Rank(core);
    }
  }

  void Watch(std::span<arbiter::CoreSignals> signals, bool timed) override {
    for (CoreId core = 0; core < cores_; ++core)
      lanes_[core]->domain.Watch(signals[core], timed);
  }

  Placed SetHeld(CoreId core, bool held, Instant now) override {
    lanes_[core]->held.store(held, std::memory_order_seq_cst);
    Rank(core);
    // Pairs with Enqueue()'s.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    return held ? Placed{} : HandOn(core, now);
  }

  Placed Enqueue(Task& task, Wake why, uint64_t flow, CoreId from,
                 Instant now) override {
    const CoreId home = Home(task, why, flow, from);
    Lane& lane = *lanes_[home];
    if (balanced_) CountArrival(task, why, lane, from == home);
    if (shared_ && from == home && lane.busy.load(std::memory_order_relaxed)) {
      lane.newest_from.store(lane.picks.load(std::memory_order_relaxed),
                             std::memory_order_relaxed);
    }
    if (shared_ || from == home) {
      // Behind those for whom it gave way.
      if (!shared_) DrainInbox(lane, now);
      lane.domain.Enqueue(task, why, now);
    } else {
      lane.inbox.Push(task, why);
    }
    Rank(home);
    if (held_change_) {
      std::atomic_thread_fence(std::memory_order_seq_cst);
      if (!lane.held.load(std::memory_order_seq_cst)) return HandOn(home, now);
    }
    if (from != home) {
      return {.notify = shared_ ? Notify::kAnyone : Notify::kCore,
              .core = home};
    }
    if (!shared_ || why == Wake::kYield || why == Wake::kPreempted) return {};
    // The core runs nothing: it takes the task itself. Another would come late.
    if (!lane.busy.load(std::memory_order_relaxed) &&
        lane.domain.Waiting() <= 1)
      return {};
    return {.notify = Notify::kAnyone, .core = kNoCore};
  }

  Task* PickNext(CoreId core, Instant now) override {
    Lane& lane = *lanes_[core];
    DrainInbox(lane, now);
    Task* const task = lane.domain.PickNext(core, now);
    if (balanced_) ForgetCurrent(lane);
    SetCurrent(lane, task);
    Rank(core);
    return task;
  }

  Task* Exchange(Task& current, Wake why, CoreId core, Instant now) override {
    Lane& lane = *lanes_[core];
    DrainInbox(lane, now);
    if (balanced_ && AddQuantum(current)) lane.AddOwnQuanta(1);
    Task* const next = lane.domain.Exchange(current, why, core, now);
    SetCurrent(lane, next);
    Rank(core);
    return next;
  }

  void Leave(CoreId core) override {
    Lane& lane = *lanes_[core];
    if (balanced_) ForgetCurrent(lane);
    SetCurrent(lane, nullptr);
    Rank(core);
  }

  Task* FindWork(CoreId core, Instant now) override {
    if (stealing_ == Stealing::kNone) return nullptr;
    const CoreId first = stealing_ == Stealing::kRandom
                             ? lanes_[core]->Random() % cores_
                             : Longest();
    if (first == kNoCore) return nullptr;
    // That one first, then all others in turn.
    for (unsigned i = 0; i < cores_; ++i) {
      if (ranking_ != nullptr) i = NextThatHasSome(first, i);
      if (i >= cores_) break;
      const CoreId victim = NthFrom(first, i);
      Lane& lane = *lanes_[victim];
      if (victim == core || lane.domain.Waiting() == 0 || lane.Keeps())
        continue;
      if (Task* const task = Steal(victim, core, now)) return task;
    }
    return nullptr;
  }

  Task* TakeFrom(CoreId victim, CoreId core, Instant now) override {
    return shared_ ? Steal(victim, core, now) : nullptr;
  }

  bool HasOwnWork(CoreId core) const override {
    const Lane& lane = *lanes_[core];
    return lane.domain.Waiting() != 0 || !lane.inbox.Empty();
  }

  bool HasWork(CoreId core) const override {
    if (HasOwnWork(core)) return true;
    if (!shared_) return false;
    for (CoreId other = 0; other < cores_; ++other) {
      if (lanes_[other]->domain.Waiting() != 0) return true;
    }
    return false;
  }

  bool SharesWork() const override { return shared_; }

  void OnStop(Task& task, CoreId core, Stop why, Duration ran) override {
    lanes_[core]->domain.OnStop(task, core, why, ran);
  }
  bool ObservesStops() const override { return observes_stops_; }

  Duration Slice(const Task& task, CoreId core) override {
    return lanes_[core]->domain.Slice(task);
  }

 private:
  // The core whose domain `task` joins.
  CoreId Home(const Task& task, Wake why, uint64_t flow, CoreId from) {
    const CoreId home = AnyHome(task, why, flow, from);
    if (!held_change_) return home;
    const CoreId held = HeldFrom(home);
    return held == kNoCore ? home : held;
  }

  // The first core from `core` on that is held, round the end; kNoCore: none is.
  CoreId HeldFrom(CoreId core) const {
    for (unsigned i = 0; i < cores_; ++i) {
      const CoreId one = (core + i) % cores_;
      if (lanes_[one]->held.load(std::memory_order_seq_cst)) return one;
    }
    return kNoCore;
  }

  // What waits on `core`, which is not held, goes to those that are, in turn. If none
  // is it stays: who is granted next takes it from there. Requires: shared domains.
  Placed HandOn(CoreId core, Instant now) {
    CoreId to = core;
    bool handed_on = false;
    Lane& from = *lanes_[core];
    while (from.domain.Waiting() != 0) {
      to = HeldFrom(to + 1);
      if (to == kNoCore) break;
      // Not as if it were to run here: a fair order counts it no more.
      Task* const task = from.domain.Steal(to, now);
      if (task == nullptr) break;  // Others have taken it.
      Lane& lane = *lanes_[to];
      if (balanced_) {
        from.others_quanta.fetch_sub(task->quanta, std::memory_order_relaxed);
        lane.others_quanta.fetch_add(task->quanta, std::memory_order_relaxed);
      }
      lane.domain.Enqueue(*task, Wake::kMigrated, now);
      Rank(to);
      handed_on = true;
    }
    if (!handed_on) return {};
    Rank(core);
    return {.notify = Notify::kAnyone, .core = to};
  }

  CoreId AnyHome(const Task& task, Wake why, uint64_t flow, CoreId from) {
    if ((why == Wake::kYield || why == Wake::kPreempted) && from != kNoCore)
      return from;
    const bool woken = why != Wake::kArrival;
    switch (kind_) {
      case PlacementKind::kStealing:
        if ((woken || flow == 0) && from != kNoCore) return from;
        break;
      case PlacementKind::kTwoLevel:
        if (woken && task.last_core < cores_) return task.last_core;
        if (shared_ && flow == 0 && from != kNoCore) return from;
        return LeastLoaded(from != kNoCore ? from : NextInTurn());
      case PlacementKind::kPartitioned:
      case PlacementKind::kCentral:
        break;
    }
    if (woken && task.last_core < cores_) return task.last_core;
    return flow != 0 ? HomeOfFlow(flow, cores_) : NextInTurn();
  }

  // In turn; both below cores_. Not a remainder, for a division costs more than the look
  // at a core that it would be for.
  CoreId NthFrom(CoreId first, unsigned i) const {
    const CoreId core = first + i;
    return core < cores_ ? core : core - cores_;
  }

  CoreId NextInTurn() {
    return turn_.fetch_add(1, std::memory_order_relaxed) % cores_;
  }

  // The core with the most waiting tasks; kNoCore if none waits anywhere.
  CoreId Longest() const {
    if (ranking_ != nullptr) {
      const CoreId core = ranking_->lengths.Best();
      return ranking_->lengths.key(core) == 0 ? kNoCore : core;
    }
    CoreId longest = kNoCore;
    uint32_t most = 0;
    for (CoreId core = 0; core < cores_; ++core) {
      const uint32_t waiting = lanes_[core]->domain.Waiting();
      if (waiting <= most) continue;
      longest = core;
      most = waiting;
    }
    return longest;
  }

  // The least loaded core; `first` among equals, then those after it.
  CoreId LeastLoaded(CoreId first) const {
    if (held_change_) first = std::min(HeldFrom(first), cores_ - 1);
    // No other has less, and each costs four lines that it writes all the time.
    if (lanes_[first]->InFlight() == 0) return first;
    if (ranking_ != nullptr) {
      const CoreId core = ranking_->loads.BestFrom(first);
      const bool held = ranking_->loads.key(core).in_flight != UINT32_MAX;
      return held ? core : first;
    }
    CoreId best = first;
    uint32_t least = UINT32_MAX;
    int64_t most_quanta = 0;
    for (unsigned i = 0; i < cores_; ++i) {
      const CoreId core = NthFrom(first, i);
      if (held_change_ && !lanes_[core]->held.load(std::memory_order_seq_cst))
        continue;
      const uint32_t load = lanes_[core]->InFlight();
      if (load > least) continue;
      const int64_t quanta = lanes_[core]->Quanta();
      if (load == least && quanta <= most_quanta) continue;
      best = core;
      least = load;
      most_quanta = quanta;
    }
    return best;
  }

  // Counts no further than it can: a count that began anew would leave the old one
  // with its core for ever. Two threads that yield to each other get there in
  // minutes. Returns whether it counted.
  static bool AddQuantum(Task& task) {
    if (task.quanta == UINT32_MAX) return false;
    ++task.quanta;
    return true;
  }

  static void CountArrival(Task& task, Wake why, Lane& lane, bool own) {
    if (why == Wake::kArrival) task.quanta = 0;
    if (why == Wake::kYield || why == Wake::kPreempted) AddQuantum(task);
    if (task.quanta == 0) return;
    if (own) {
      lane.AddOwnQuanta(task.quanta);
    } else {
      lane.others_quanta.fetch_add(task.quanta, std::memory_order_relaxed);
    }
  }

  // The task that ran has left: its quanta are no longer in flight here.
  static void ForgetCurrent(Lane& lane) {
    lane.AddOwnQuanta(-static_cast<int64_t>(lane.current_quanta));
    lane.current_quanta = 0;
  }

  void SetCurrent(Lane& lane, const Task* task) {
    lane.busy.store(task != nullptr, std::memory_order_relaxed);
    lane.picks.store(lane.picks.load(std::memory_order_relaxed) + 1,
                     std::memory_order_relaxed);
    if (balanced_) lane.current_quanta = task == nullptr ? 0 : task->quanta;
  }

  static void DrainInbox(Lane& lane, Instant now) {
    if (!lane.inbox.Empty()) DrainFullInbox(lane, now);
  }

  [[gnu::noinline, gnu::cold]] static void DrainFullInbox(Lane& lane,
                                                          Instant now) {
    lane.inbox.Drain([&lane, now](Task& task, Wake why) {
      lane.domain.Enqueue(task, why, now);
    });
  }

  // Takes one task of `victim` for `core`, by way of its own domain, so that the
  // order decides and its policy can renormalise. Requires: shared domains.
  Task* Steal(CoreId victim, CoreId core, Instant now) {
    Task* const stolen = lanes_[victim]->domain.TrySteal(core, now);
    if (stolen == nullptr) return nullptr;
    Lane& lane = *lanes_[core];
    if (balanced_) {
      lanes_[victim]->others_quanta.fetch_sub(stolen->quanta,
                                              std::memory_order_relaxed);
      lane.AddOwnQuanta(stolen->quanta);
    }
    Rank(victim);
    Task* const next =
        lane.domain.Exchange(*stolen, Wake::kMigrated, core, now);
    SetCurrent(lane, next);
    Rank(core);
    return next;
  }

  // After whatever changes `core`'s lane.
  void Rank(CoreId core) {
    if (ranking_ == nullptr) return;
    const Lane& lane = *lanes_[core];
    if (shared_) ranking_->lengths.Set(core, -int64_t{lane.domain.Waiting()});
    if (!balanced_) return;
    const bool held =
        !held_change_ || lane.held.load(std::memory_order_relaxed);
    ranking_->loads.Set(core, held ? Load{.in_flight = lane.InFlight(),
                                          .quanta = -lane.Quanta()}
                                   : Load{.in_flight = UINT32_MAX});
  }

  // The first i-th core from `first` on, not before `i`, that something waits for;
  // cores_: there is none.
  unsigned NextThatHasSome(CoreId first, unsigned i) const {
    while (i < cores_) {
      const CoreId from = NthFrom(first, i);
      const CoreId end = from < first ? first : cores_;
      const CoreId next = ranking_->lengths.NextBelow(from, 0);
      if (next < end) return i + (next - from);
      if (from < first) break;
      i = cores_ - first;  // From the lowest one on.
    }
    return cores_;
  }

  // Constant after construction; one line.
  const unsigned cores_;
  const PlacementKind kind_;
  const Stealing stealing_;
  const bool shared_;    // Every domain is called by others than its core.
  const bool balanced_;  // New tasks go to the least loaded core.
  const bool observes_stops_;
  const bool held_change_;  // Cores come and go.
  const std::unique_ptr<std::unique_ptr<Lane>[]> lanes_;
  const std::unique_ptr<Ranking> ranking_;  // nullptr: many threads call.

  // Written by whoever enqueues a task without a flow.
  alignas(base::kNoSharing) std::atomic<uint32_t> turn_{0};
};

}  // namespace

std::unique_ptr<Placement> MakePerCore(const PolicyInfo& order,
                                       const PolicyOptions& options,
                                       PlacementKind kind, Stealing stealing,
                                       unsigned cores, Callers callers,
                                       Supply supply) {
  return std::make_unique<PerCore>(order, options, kind, stealing, cores,
                                   callers, supply);
}

}  // namespace yamanote::dispatch
