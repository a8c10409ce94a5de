// engine.h - a machine in virtual time, scheduled by the production objects.
//
// The placement, the policies in it, admission and adaptive slices are those that the
// runtime uses; io, worker, preempt's timekeeper and the clock are replaced by events,
// each of which takes what Costs says. One thread; the same requests give the same run.
//
//   Source -> admission -> Enqueue -> whom Placed names looks: Dispatch, PickNext,
//   FindWork -> runs until it ends, or its slice does while something waits: Exchange
//   -> Observer
//
// A core that finds nothing parks until a Placed names it, as a worker does: a placement
// that forgets to name one leaves work undone, and Run() says so. Idle cores are taken
// to poll: they see what is for them after Costs::hop.
//
// Cores may come and go: with Supply::kArbiter it starts with none, and a Machine calls
// Grant() and Revoke() (sim/machine.h); what for, engine_cores.cc says.
//
// Requests do not block. A slice begins with a request's own work, after what
// Costs::network takes.

#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "base/core_set.h"
#include "dispatch/admission.h"
#include "dispatch/placement.h"
#include "preempt/adaptive_slice.h"
#include "sim/costs.h"
#include "sim/source.h"
#include "sim/timeline.h"
#include "yamanote/core_policy.h"
#include "yamanote/scheduling.h"

namespace yamanote::sim {

// The most cores that a simulated machine has.
inline constexpr unsigned kMaxCores = 4096;

struct EngineOptions {
  Scheduling scheduling;
  unsigned cores = 1;
  Costs costs{};
  // An order that is in no list; nullptr: the one that `scheduling` names.
  const PolicyInfo* order = nullptr;
  // Where the cores are, for the orders that use it. Empty: all in one place.
  std::vector<CoreLocality> locality{};

  dispatch::Supply supply = dispatch::Supply::kOwn;
  // With an arbiter: a core that has found nothing for so long is left; kNoPreemption:
  // it is not.
  Duration park_after = kNoPreemption;
  // With an arbiter: CoreSample::oldest is shown.
  bool timed = false;
};

// Whom an engine tells that a core is free; a Machine.
class CoreOwner {
 public:
  virtual ~CoreOwner() = default;
  virtual void Released(CoreId core) = 0;
};

// What the cores' time went to.
struct CoreTime {
  // Requests' own work.
  Duration tasks{0};
  // What Costs says: switches, preemptions, network, dispatching.
  Duration beside{0};
  // Cores were parked while as many requests waited.
  Duration idle_beside_waiting{0};
};

class Engine {
 public:
  // Requires: Validate(options.scheduling, options.cores).
  Engine(const EngineOptions& options, Source& source, Observer& observer);

  // Runs until the source has no more and everything is answered.
  void Run();

  // As Run(), in steps: when the next event is, kNever if there is none any more, and
  // that event.
  Instant NextTime() const {
    return std::min(timeline_.FirstTime(),
                    arrival_ != nullptr ? arrival_->at : kNever);
  }
  void Step();

  // With Supply::kArbiter, between steps. `now` is not before that of any step so far and
  // not after NextTime(). The owner outlives the engine, and is called within a step.
  void SetOwner(CoreOwner* owner) { owner_ = owner; }
  // Requires: `core` is not held.
  void Grant(CoreId core, Instant now);
  // Released() follows, at once or later. Requires: `core` is held.
  void Revoke(CoreId core, Instant now);
  // Writes what the application shows of its cores.
  void Show(std::span<CoreSample> cores, Instant now);
  // Something is admitted and not answered, or will come.
  bool Busy() const { return arrival_ != nullptr || in_system_ != 0; }

  // Of the requests so far.
  uint64_t preemptions() const { return preemptions_; }
  uint64_t steals() const { return steals_; }
  const CoreTime& time() const { return time_; }
  Instant now() const { return now_; }
  // Admitted and not answered.
  uint64_t in_system() const { return in_system_; }
  // The adaptive slice now; kNoPreemption if slices do not adapt.
  Duration adaptive_slice() const;

 private:
  enum class Doing : uint8_t {
    kParked,   // Nothing, until it is named.
    kAway,     // It is somebody else's.
    kLeaving,  // It is somebody else's at its event.
    kLooking,  // Has been named; looks at its event.
    kServing,  // The dispatcher's own work, until its event.
    kRunning,  // A task, within its slice.
    kOverdue,  // A task whose slice is over; nothing waits.
    kAsked,    // A task that is asked to give way; knows it at its event.
  };

  struct Job final : Task {
    Arrival request{};
    Duration remaining{0};
    Job* next_free = nullptr;
  };

  struct Core {
    Doing doing = Doing::kParked;
    Job* job = nullptr;
    Instant since{};          // When `job` began, costs behind it.
    Instant end{};            // When it would be done.
    bool has_slices = false;  // Constant.
    // With an arbiter:
    bool revoked = false;  // It leaves when it comes to itself.
    bool idle = false;     // It has no task, since:
    Instant idle_since{};
    Duration idle_for{0};  // Before that.
  };

  Engine(const PolicyInfo& order, const EngineOptions& options, Source& source,
         Observer& observer);
  void StepAt(Instant next);
  void PassTo(Instant when) {
    // Those that somebody is on the way to, or that are being received, do not wait.
    if (in_system_ > running_ + named_ && idle_.size() > 0) {
      const uint64_t served = running_ + named_ + received_.size();
      const uint64_t waiting = in_system_ > served ? in_system_ - served : 0;
      time_.idle_beside_waiting +=
          (when - now_) *
          static_cast<int64_t>(std::min<uint64_t>(waiting, idle_.size()));
    }
    now_ = when;
  }
  void Step(CoreId core);
  void BeginIdle(CoreId core);
  void EndIdle(CoreId core);
  void Leave(CoreId core);
  void BeAway(CoreId core);
  void Arrive(const Arrival& arrival);
  void Place(const Arrival& arrival, CoreId from);
  // `delay`: until it is done, whoever it is for cannot see it.
  void Notify(dispatch::Placed placed, Duration delay = Duration{0}) {
    if (placed.notify == dispatch::Notify::kNobody ||
        (placed.notify == dispatch::Notify::kAnyone && idle_.size() == 0))
      return;
    NotifySomebody(placed, delay);
  }
  void NotifySomebody(dispatch::Placed placed, Duration delay);
  void Wake(CoreId core, Duration delay = Duration{0});
  bool SomethingWaitsFor(CoreId core) const;
  void WakeDispatcher() {
    if (dedicated_) Wake(0);
  }
  void Look(CoreId core);
  bool Serve();
  void Park(CoreId core);
  void Start(CoreId core, Task& task, Duration delay);
  void Run(CoreId core, Job& job, Duration delay);
  void SliceIsOver(CoreId core);
  void Ask(CoreId core);
  void AskOverdue(dispatch::Placed placed);
  void BeOverdue(CoreId core);
  void Cut(CoreId core);
  void Finish(CoreId core);
  void Stopped(CoreId core, Stop why);

  Job& NewJob();
  void Free(Job& job) {
    job.next_free = free_;
    free_ = &job;
  }
  Instant PolicyNow() const {
    return clock_use_ == ClockUse::kNone && !timed_ ? Instant() : now_;
  }
  void Beside(Duration cost) { time_.beside += cost; }

  // Constant after construction.
  const Costs costs_;
  const unsigned count_;
  const bool dedicated_;   // Core 0 dispatches.
  const bool per_core_;    // What is enqueued is one core's own work.
  const bool dispatches_;  // Dispatch() has something to do.
  const ClockUse clock_use_;
  const std::unique_ptr<dispatch::Placement> placement_;
  const std::unique_ptr<preempt::AdaptiveSlice> adaptive_;
  const bool managed_;  // An arbiter hands out the cores.
  const bool timed_;
  const Duration park_after_;
  const bool accounts_;  // Task::attained is kept.
  const bool observes_stops_;
  Source& source_;
  Observer& observer_;
  CoreOwner* owner_ = nullptr;
  std::unique_ptr<arbiter::CoreSignals[]> signals_;  // By core.

  const Arrival* arrival_ = nullptr;  // The next request, if there is one.

  dispatch::Admission admission_;
  Instant now_{};
  Timeline timeline_;
  std::vector<Core> cores_;
  base::CoreSet idle_;     // kParked.
  base::CoreSet overdue_;  // kOverdue.
  bool looking_ = false;   // Within Look(): others look at events of their own.

  // The dispatcher's. Received and not placed yet; the first is what it serves.
  std::deque<Arrival> received_;
  bool receiving_ = false;
  Duration owed_{0};  // For preemptions that it asked for.
  Instant last_pass_{};

  std::vector<std::unique_ptr<Job[]>> jobs_;
  Job* free_ = nullptr;
  uint64_t next_id_ = 0;
  uint64_t in_system_ = 0;
  uint64_t running_ = 0;
  uint64_t named_ = 0;  // Cores that are kLooking.
  uint64_t preemptions_ = 0;
  uint64_t steals_ = 0;
  CoreTime time_{};
};

}  // namespace yamanote::sim
