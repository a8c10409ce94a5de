// engine.cc - what happens at each event.

#include "sim/engine.h"

#include <algorithm>

#include "base/check.h"

namespace yamanote::sim {

using dispatch::Notify;
using dispatch::Placed;

namespace {

constexpr CoreId kDispatcher = 0;
constexpr std::size_t kJobsPerBlock = 1024;

std::unique_ptr<preempt::AdaptiveSlice> MakeAdaptive(
    const PolicyInfo& order, const Scheduling& scheduling, unsigned cores) {
  if (!scheduling.slice.Adapts()) return nullptr;
  return std::make_unique<preempt::AdaptiveSlice>(
      scheduling.slice.least, scheduling.slice.most, cores,
      order.short_first ? preempt::ShortFirst : preempt::InTurn);
}

const PolicyInfo& OrderOf(const EngineOptions& options) {
  const PolicyInfo* const order = options.order != nullptr
                                      ? options.order
                                      : FindPolicy(options.scheduling.order);
  YAMANOTE_CHECK(order != nullptr, "Engine requires Validate(): unknown order");
  return *order;
}

}  // namespace

Engine::Engine(const EngineOptions& options, Source& source, Observer& observer)
    : Engine(OrderOf(options), options, source, observer) {}

Engine::Engine(const PolicyInfo& order, const EngineOptions& options,
               Source& source, Observer& observer)
    : costs_(options.costs),
      count_(options.cores),
      dedicated_(HasDedicatedDispatcher(options.scheduling, options.cores)),
      per_core_(options.scheduling.placement != PlacementKind::kCentral),
      dispatches_(dedicated_ || !order.work_conserving),
      clock_use_(order.clock),
      placement_(dispatch::MakePlacement(
          order, options.scheduling, options.cores,
          dispatch::Callers::kOneThread, options.supply, options.locality)),
      adaptive_(MakeAdaptive(order, options.scheduling, options.cores)),
      managed_(options.supply == dispatch::Supply::kArbiter),
      timed_(options.timed),
      park_after_(options.park_after),
      accounts_(clock_use_ == ClockUse::kRunTime || adaptive_ != nullptr),
      observes_stops_(placement_->ObservesStops()),
      source_(source),
      observer_(observer),
      admission_(options.scheduling.classes, dispatch::Callers::kOneThread),
      timeline_(options.cores),
      cores_(options.cores),
      idle_(options.cores),
      overdue_(options.cores) {
  if (managed_) {
    signals_ = std::make_unique<arbiter::CoreSignals[]>(count_);
    placement_->Watch({signals_.get(), count_}, timed_);
  }
  for (CoreId core = 0; core < count_; ++core) {
    if (managed_) {
      cores_[core].doing = Doing::kAway;
    } else {
      idle_.Add(core);
    }
    cores_[core].has_slices = placement_->Quantum(core) != kNoPreemption;
    if (adaptive_ != nullptr) adaptive_->BeginIdle(core, now_);
  }
  arrival_ = source_.Next();
}

Duration Engine::adaptive_slice() const {
  return adaptive_ == nullptr ? kNoPreemption : adaptive_->current();
}

// `next` is the timeline's.
inline void Engine::StepAt(Instant next) {
  if (arrival_ != nullptr && arrival_->at < next) {
    YAMANOTE_CHECK(arrival_->at >= now_,
                   "requests arrive in the order of time");
    PassTo(arrival_->at);
    Arrive(*arrival_);
    arrival_ = source_.Next();
  } else {
    PassTo(next);
    Step(timeline_.FirstCore());
  }
  if (adaptive_ != nullptr) adaptive_->Adapt(now_);
}

void Engine::Run() {
  for (;;) {
    const Instant next = timeline_.FirstTime();
    if (arrival_ == nullptr && next == kNever) break;
    StepAt(next);
  }
  YAMANOTE_CHECK(in_system_ == 0,
                 "every core is parked, but not every request is answered: the "
                 "placement forgot to name a core");
}

void Engine::Step() { StepAt(timeline_.FirstTime()); }

inline void Engine::Step(CoreId core) {
  // Most events are this one.
  if (cores_[core].doing == Doing::kRunning && now_ >= cores_[core].end)
      [[likely]] {
    Finish(core);
    return;
  }
  switch (cores_[core].doing) {
    case Doing::kParked:
      YAMANOTE_CHECK(managed_, "a parked core has no events");
      Leave(core);
      return;
    case Doing::kAway:
      YAMANOTE_CHECK(false, "a core that is not held has no events");
      return;
    case Doing::kLeaving:
      BeAway(core);
      return;
    case Doing::kLooking:
      --named_;
      Look(core);
      return;
    case Doing::kServing:
      Look(core);
      return;
    case Doing::kRunning:
    case Doing::kOverdue:
    case Doing::kAsked:
      if (now_ >= cores_[core].end) {
        Finish(core);
      } else if (cores_[core].revoked) {
        Cut(core);
      } else if (cores_[core].doing == Doing::kRunning) {
        SliceIsOver(core);
      } else if (SomethingWaitsFor(core)) {
        Cut(core);
      } else {
        BeOverdue(core);  // Another core has taken what waited.
      }
      return;
  }
}

// ---- Requests ---------------------------------------------------------------

inline Engine::Job& Engine::NewJob() {
  if (free_ == nullptr) {
    jobs_.push_back(std::make_unique<Job[]>(kJobsPerBlock));
    for (std::size_t i = kJobsPerBlock; i > 0; --i) Free(jobs_.back()[i - 1]);
  }
  Job& job = *free_;
  free_ = job.next_free;
  return job;
}

inline void Engine::Arrive(const Arrival& arrival) {
  if (!admission_.TryAdmit(arrival.request_class)) {
    observer_.Refused(arrival);
    return;
  }
  ++in_system_;
  if (dedicated_ && costs_.network > Duration::zero()) {
    received_.push_back(arrival);
    if (cores_[kDispatcher].doing == Doing::kOverdue) {
      Ask(kDispatcher);
    } else {
      Wake(kDispatcher);
    }
    return;
  }
  Place(arrival, kNoCore);
}

// GCC finds it too long for its two callers; inlined it saves 26 instructions a request.
[[gnu::always_inline]] inline void Engine::Place(const Arrival& arrival,
                                                 CoreId from) {
  Job& job = NewJob();
  job.id = next_id_++;
  job.arrival = arrival.at;
  job.deadline = arrival.deadline;
  job.request_class = arrival.request_class;
  job.last_core = kNoCore;
  job.attained = Duration::zero();
  job.quanta = 0;
  job.request = arrival;
  job.remaining = arrival.service;
  time_.tasks += arrival.service;
  const Placed placed =
      placement_->Enqueue(job, Wake::kArrival, arrival.flow, from, PolicyNow());
  Notify(placed);
  // A dispatcher first sends what it can.
  if (from != kDispatcher) AskOverdue(placed);
}

inline void Engine::Finish(CoreId core) {
  Job& job = *cores_[core].job;
  Stopped(core, Stop::kFinished);
  if (adaptive_ != nullptr) adaptive_->Record(core, job.attained);
  observer_.Finished(job.request, now_);
  admission_.Release(job.request_class);
  --in_system_;
  Free(job);
  Look(core);
  WakeDispatcher();
}

inline void Engine::Stopped(CoreId core, Stop why) {
  Job& job = *cores_[core].job;
  const Duration ran = now_ - cores_[core].since;
  if (accounts_) job.attained += ran;
  if (observes_stops_) {
    placement_->OnStop(
        job, core, why,
        clock_use_ == ClockUse::kRunTime ? ran : Duration::zero());
  }
  if (cores_[core].doing == Doing::kOverdue) overdue_.Remove(core);
  --running_;
}

// ---- Who is told ------------------------------------------------------------

void Engine::NotifySomebody(Placed placed, Duration delay) {
  switch (placed.notify) {
    case Notify::kNobody:
      return;
    case Notify::kCore:
      Wake(placed.core, delay);
      return;
    case Notify::kAnyone: {
      const CoreId best = placed.core == kNoCore ? 0 : placed.core;
      CoreId core = idle_.NextFrom(best);
      if (core == kNoCore) core = idle_.NextFrom(0);
      Wake(core, delay);
      return;
    }
    case Notify::kEveryone:
      for (CoreId core = idle_.NextFrom(0); core != kNoCore;
           core = idle_.NextFrom(core + 1)) {
        Wake(core, delay);
      }
      return;
  }
}

inline void Engine::Wake(CoreId core, Duration delay) {
  if (cores_[core].doing != Doing::kParked) return;
  delay += costs_.hop;
  if (delay == Duration::zero() && !looking_) {
    Look(core);
    return;
  }
  idle_.Remove(core);
  cores_[core].doing = Doing::kLooking;
  ++named_;
  timeline_.Set(core, now_ + delay);
}

// ---- A core without a task --------------------------------------------------

// Does one step of the dispatcher's own work that takes time, or all that takes none.
// True: core 0 is busy with it until its event.
bool Engine::Serve() {
  last_pass_ = now_;
  if (receiving_) {
    receiving_ = false;
    const Arrival arrival = received_.front();
    received_.pop_front();
    Place(arrival, kDispatcher);
  }
  Duration cost = std::exchange(owed_, Duration::zero());
  for (;;) {
    const Placed placed = placement_->Dispatch(kDispatcher, PolicyNow());
    if (placed.notify == Notify::kNobody) break;
    cost += costs_.dispatch;
    Notify(placed, cost);
    if (cost > Duration::zero()) break;
  }
  if (cost == Duration::zero() && !received_.empty()) {
    receiving_ = true;
    cost = costs_.network;
  }
  if (cost == Duration::zero()) return false;
  Beside(cost);
  if (cores_[kDispatcher].doing == Doing::kParked) idle_.Remove(kDispatcher);
  cores_[kDispatcher].doing = Doing::kServing;
  timeline_.Set(kDispatcher, now_ + cost);
  return true;
}

void Engine::Look(CoreId core) {
  if (cores_[core].revoked) {
    Leave(core);
    return;
  }
  const bool outermost = !std::exchange(looking_, true);
  const auto look = [&] {
    if (dedicated_ && core == kDispatcher) {
      if (Serve()) return;
    } else if (dispatches_) {
      for (Placed placed = placement_->Dispatch(core, PolicyNow());
           placed.notify != Notify::kNobody;
           placed = placement_->Dispatch(core, PolicyNow())) {
        Notify(placed);
      }
    }
    if (Task* const task = placement_->PickNext(core, PolicyNow())) {
      Start(core, *task, Duration::zero());
      return;
    }
    // What was left where it is at the first look is had at the second.
    for (int i = 0; per_core_ && i < 2; ++i) {
      if (Task* const task = placement_->FindWork(core, PolicyNow())) {
        ++steals_;
        Beside(costs_.steal);
        Start(core, *task, costs_.steal);
        return;
      }
    }
    Park(core);
  };
  look();
  if (outermost) looking_ = false;
  if (dispatches_) AskOverdue({.notify = Notify::kAnyone, .core = kNoCore});
}

inline void Engine::Park(CoreId core) {
  cores_[core].doing = Doing::kParked;
  cores_[core].job = nullptr;
  idle_.Add(core);
  timeline_.Set(core, kNever);
  if (managed_) {
    BeginIdle(core);
    if (park_after_ != kNoPreemption) timeline_.Set(core, now_ + park_after_);
  }
  if (adaptive_ != nullptr) adaptive_->BeginIdle(core, now_);
}

// ---- A core with a task -----------------------------------------------------

inline void Engine::Start(CoreId core, Task& task, Duration delay) {
  Beside(costs_.context_switch);
  if (cores_[core].doing == Doing::kParked) idle_.Remove(core);
  if (adaptive_ != nullptr) adaptive_->EndIdle(core, now_);
  if (managed_) EndIdle(core);
  Run(core, static_cast<Job&>(task), delay + costs_.context_switch);
}

inline void Engine::Run(CoreId id, Job& job, Duration delay) {
  Core& core = cores_[id];
  if (job.last_core == kNoCore && !dedicated_) {
    // Its first turn. A slice begins with its own work.
    delay += costs_.network;
    Beside(costs_.network);
  }
  job.last_core = id;
  ++running_;
  core.doing = Doing::kRunning;
  core.job = &job;
  core.since = now_ + delay;
  core.end = core.since + job.remaining;
  Instant next = core.end;
  if (core.has_slices) {
    Duration slice = placement_->Slice(job, id);
    if (adaptive_ != nullptr) slice = std::max(slice, adaptive_->current());
    if (slice < job.remaining) next = core.since + slice;
  }
  timeline_.Set(id, next);
}

bool Engine::SomethingWaitsFor(CoreId core) const {
  return placement_->HasOwnWork(core) ||
         (core == kDispatcher && !received_.empty());
}

void Engine::SliceIsOver(CoreId core) {
  if (SomethingWaitsFor(core)) {
    Ask(core);
  } else {
    BeOverdue(core);
  }
}

void Engine::BeOverdue(CoreId core) {
  cores_[core].doing = Doing::kOverdue;
  overdue_.Add(core);
  timeline_.Set(core, cores_[core].end);
}

void Engine::Ask(CoreId core) {
  // A dispatcher keeps its own time.
  const bool itself = dedicated_ && core == kDispatcher;
  if (dedicated_ && !itself) owed_ += costs_.preempt_sender;
  if (itself || costs_.hop == Duration::zero()) {
    Cut(core);
    return;
  }
  if (cores_[core].doing == Doing::kOverdue) overdue_.Remove(core);
  cores_[core].doing = Doing::kAsked;
  // A nanosecond more: an idle core that was named at the same time comes first.
  timeline_.Set(core,
                std::min(cores_[core].end, now_ + costs_.hop + Duration(1)));
}

// Something may wait for those whose slices are over.
inline void Engine::AskOverdue(Placed placed) {
  // A request that does not run may wait for any core's; where all run, for none.
  if (overdue_.size() == 0 || in_system_ == running_) return;
  if (per_core_ && count_ > 1) {
    if (placed.core != kNoCore && overdue_.Contains(placed.core) &&
        placement_->HasOwnWork(placed.core))
      Ask(placed.core);
    return;
  }
  for (CoreId core = overdue_.NextFrom(0); core != kNoCore;
       core = overdue_.NextFrom(core + 1)) {
    if (SomethingWaitsFor(core)) {
      Ask(core);
    } else if (!dispatches_) {
      return;  // They share what waits.
    }
  }
}

void Engine::Cut(CoreId id) {
  Core& core = cores_[id];
  Job& job = *core.job;
  Stopped(id, Stop::kPreempted);
  job.remaining = core.end - now_;
  Task* next = nullptr;
  if (core.revoked) {
    Leave(id);
    Notify(placement_->Enqueue(job, Wake::kPreempted, job.request.flow, id,
                               PolicyNow()));
    return;
  }
  if (id == kDispatcher && dedicated_ &&
      now_ - last_pass_ >= placement_->PassInterval(id)) {
    // As a worker whose pass is due: it looks after the others first.
    Notify(placement_->Enqueue(job, Wake::kPreempted, job.request.flow, id,
                               PolicyNow()));
  } else {
    next = placement_->Exchange(job, Wake::kPreempted, id, PolicyNow());
  }
  if (next == &job && dedicated_ && id == kDispatcher) {
    Run(id, job, Duration::zero());  // It only looked.
    return;
  }
  ++preemptions_;
  Beside(costs_.preempt_receiver);
  if (next == &job) {
    Run(id, job, costs_.preempt_receiver);
  } else if (next != nullptr) {
    Beside(costs_.context_switch);
    Run(id, static_cast<Job&>(*next),
        costs_.preempt_receiver + costs_.context_switch);
  } else {
    core.doing = Doing::kLooking;
    core.job = nullptr;
    if (costs_.preempt_receiver == Duration::zero() && !looking_) {
      Look(id);
    } else {
      ++named_;
      timeline_.Set(id, now_ + costs_.preempt_receiver);
    }
  }
  WakeDispatcher();
}

}  // namespace yamanote::sim
