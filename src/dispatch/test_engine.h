// test_engine.h - a virtual machine for tests: real policies, real placement,
// virtual time.
//
// Single-threaded and deterministic. Switching, waking and dispatching cost
// nothing, so every time in a test can be worked out by hand. It keeps to the
// engine's side of placement.h to the letter: a core that finds nothing parks
// and looks again only when a Placed names it, so a placement that forgets to
// notify leaves work undone.
//
// Bound: as many events as tasks and slices; a core that is told of work forever
// but never given any is a failure (CHECK).

#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <vector>

#include "base/check.h"
#include "dispatch/placement.h"

namespace yamanote::dispatch {

struct JobOptions {
  Duration service{0};  // > 0.
  ClassId request_class = 0;
  uint64_t flow = 0;
  Instant deadline = kNever;
  CoreId from = kNoCore;  // The core that enqueues it.
};

class TestEngine {
 public:
  TestEngine(const Scheduling& scheduling, unsigned cores)
      : clock_use_(FindPolicy(scheduling.order)->clock),
        placement_(MakePlacement(scheduling, cores)),
        cores_(cores) {}

  // Lets a task arrive at `at`, which is not before the last event. Returns its
  // index.
  size_t Arrive(Duration at, const JobOptions& options) {
    auto& job = jobs_.emplace_back(std::make_unique<Job>());
    job->options = options;
    job->remaining = options.service;
    job->task.id = jobs_.size() - 1;
    job->task.request_class = options.request_class;
    job->task.deadline = options.deadline;
    job->task.arrival = Instant(at);
    arrivals_.emplace(Instant(at), job.get());
    return jobs_.size() - 1;
  }

  // Runs until every core is parked and nothing arrives any more.
  void RunUntilIdle() {
    while (StepTo(Instant::max())) {
    }
  }

  // Runs everything up to and including `until`.
  void RunUntil(Duration until) {
    while (StepTo(Instant(until))) {
    }
  }

  bool Finished(size_t index) const { return jobs_[index]->finished != kNever; }
  size_t FinishedCount() const {
    return static_cast<size_t>(
        std::count_if(jobs_.begin(), jobs_.end(),
                      [](const auto& job) { return job->finished != kNever; }));
  }
  Duration Sojourn(size_t index) const {
    YAMANOTE_CHECK(Finished(index), "the task has not finished");
    return jobs_[index]->finished - jobs_[index]->task.arrival;
  }
  // The core that ran it last.
  CoreId RanOn(size_t index) const { return jobs_[index]->task.last_core; }

  // The number of cores that are parked although HasWork() is true for them.
  unsigned IdleWithWork() const {
    unsigned count = 0;
    for (CoreId core = 0; core < cores_.size(); ++core) {
      if (cores_[core].running == nullptr && placement_->HasWork(core)) ++count;
    }
    return count;
  }

  unsigned preemptions() const { return preemptions_; }
  Placement& placement() { return *placement_; }

 private:
  struct Job {
    Task task;  // Its id is the job's index.
    JobOptions options;
    Duration remaining{0};
    Instant finished = kNever;
  };

  struct Core {
    Job* running = nullptr;
    Instant since{};  // When it was last accounted for.
    Instant slice_end = kNever;
  };

  // Handles the next event if it is not after `limit`.
  bool StepTo(Instant limit) {
    Instant next = arrivals_.empty() ? kNever : arrivals_.begin()->first;
    CoreId core = kNoCore;
    for (CoreId c = 0; c < cores_.size(); ++c) {
      const Instant event = NextEvent(c);
      // Running tasks first at equal times: what finishes makes room.
      if (event == kNever || event > next || (event == next && core != kNoCore))
        continue;
      next = event;
      core = c;
    }
    if (next == kNever || next > limit) return false;
    now_ = next;
    if (core != kNoCore) {
      StopOrContinue(core);
    } else {
      Job* const job = arrivals_.begin()->second;
      arrivals_.erase(arrivals_.begin());
      Notify(placement_->Enqueue(job->task, Wake::kArrival, job->options.flow,
                                 job->options.from, PolicyNow()));
      // Nobody was named: the calling core comes to its scheduling point.
      if (job->options.from != kNoCore) Look(job->options.from);
    }
    return true;
  }

  // When something happens on `core` by itself.
  Instant NextEvent(CoreId c) const {
    const Core& core = cores_[c];
    if (core.running == nullptr) return kNever;
    const Instant end = core.since + core.running->remaining;
    // A slice that is over counts only while something waits.
    const bool cut = core.slice_end < end && placement_->HasWork(c);
    return cut ? std::max(core.slice_end, now_) : end;
  }

  void StopOrContinue(CoreId c) {
    Core& core = cores_[c];
    Job& job = *core.running;
    const Duration ran = now_ - core.since;
    core.since = now_;
    job.remaining -= ran;
    job.task.last_core = c;
    const bool accounted = clock_use_ == ClockUse::kRunTime;
    if (accounted) job.task.attained += ran;
    const Stop why =
        job.remaining > Duration::zero() ? Stop::kPreempted : Stop::kFinished;
    if (placement_->ObservesStops()) {
      placement_->OnStop(job.task, c, why, accounted ? ran : Duration::zero());
    }
    core.running = nullptr;
    if (why == Stop::kFinished) {
      job.finished = now_;
    } else {
      ++preemptions_;
      Start(c,
            placement_->Exchange(job.task, Wake::kPreempted, c, PolicyNow()));
    }
    Look(c);
    // A dedicated dispatcher never parks while a worker has a task.
    Look(0);
  }

  void Start(CoreId c, Task* task) {
    if (task == nullptr) return;
    Core& core = cores_[c];
    core.running = jobs_[task->id].get();
    core.since = now_;
    const Duration slice = placement_->Slice(*task, c);
    core.slice_end = slice == kNoPreemption ? kNever : now_ + slice;
  }

  // What an idle core does: dispatch, own work, others' work.
  void Look(CoreId c) {
    if (cores_[c].running != nullptr) return;
    for (Placed placed = placement_->Dispatch(c, PolicyNow());
         placed.notify != dispatch::Notify::kNobody;
         placed = placement_->Dispatch(c, PolicyNow())) {
      Notify(placed);
    }
    Task* task = placement_->PickNext(c, PolicyNow());
    // A task that was left where it is at the first look is had at the second.
    for (int look = 0; task == nullptr && look < 2; ++look)
      task = placement_->FindWork(c, PolicyNow());
    Start(c, task);
  }

  void Notify(Placed placed) {
    if (placed.notify == dispatch::Notify::kNobody) return;
    if (placed.notify == dispatch::Notify::kEveryone) {
      for (CoreId c = 0; c < cores_.size(); ++c) Look(c);
      return;
    }
    if (placed.core != kNoCore && cores_[placed.core].running == nullptr) {
      Look(placed.core);
      return;
    }
    if (placed.notify != dispatch::Notify::kAnyone) return;
    for (CoreId c = 0; c < cores_.size(); ++c) {
      if (cores_[c].running != nullptr) continue;
      Look(c);
      return;
    }
  }

  Instant PolicyNow() const {
    return clock_use_ == ClockUse::kNone ? Instant() : now_;
  }

  const ClockUse clock_use_;
  const std::unique_ptr<Placement> placement_;
  std::vector<Core> cores_;
  std::vector<std::unique_ptr<Job>> jobs_;
  std::multimap<Instant, Job*> arrivals_;
  Instant now_{};
  unsigned preemptions_ = 0;
};

}  // namespace yamanote::dispatch
