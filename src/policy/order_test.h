// order_test.h - what the tests of orders share.

#pragma once

#include <array>
#include <memory>
#include <vector>

#include "yamanote/policy.h"

namespace yamanote {

// Returns the policy called `name`, which must exist.
inline std::unique_ptr<Policy> MakePolicy(std::string_view name,
                                          const PolicyOptions& options = {}) {
  const PolicyInfo* const info = FindPolicy(name);
  return info == nullptr ? nullptr : info->make(options);
}

// Returns the ids of all waiting tasks in the order in which core 0 would run
// them at `now`.
inline std::vector<uint64_t> PickAll(Policy& policy, Instant now = {}) {
  std::vector<uint64_t> ids;
  while (Task* const task = policy.PickNext(0, now)) ids.push_back(task->id);
  return ids;
}

// One core of a domain, in virtual time, where switching costs nothing.
class OneCore {
 public:
  explicit OneCore(std::string_view name, const PolicyOptions& options = {},
                   Instant now = {})
      : policy_(MakePolicy(name, options)),
        core_(options.first_core),
        now_(now) {}

  void Enqueue(Task& task, Wake why) { policy_->Enqueue(task, why, now_); }

  // Picks a task and runs it for `ran`, a slice if that is zero. If it gives way
  // it is enqueued again. Returns it; nullptr if none waits.
  Task* Run(Stop why = Stop::kPreempted, Duration ran = {}) {
    Task* const task = policy_->PickNext(core_, now_);
    if (task == nullptr) return nullptr;
    Pass(ran == Duration(0) ? policy_->Slice(*task) : ran);
    StopNow(*task, why, ran == Duration(0) ? policy_->Slice(*task) : ran);
    return task;
  }

  // What Run() does after PickNext(), for tests in which more happens meanwhile.
  void Pass(Duration time) { now_ += time; }
  void StopNow(Task& task, Stop why, Duration ran) {
    task.last_core = core_;
    task.attained += ran;
    policy_->OnStop(task, core_, why, ran);
    if (why == Stop::kPreempted) Enqueue(task, Wake::kPreempted);
    if (why == Stop::kYielded) Enqueue(task, Wake::kYield);
  }

  // Runs tasks in slices for `time`.
  void RunFor(Duration time) {
    const Instant end = now_ + time;
    while (now_ < end && Run() != nullptr) {
    }
  }

  Policy& policy() { return *policy_; }
  Instant now() const { return now_; }

 private:
  const std::unique_ptr<Policy> policy_;
  const CoreId core_;
  Instant now_;
};

// Four tasks with the ids 1 .. 4, all of class 0.
struct Tasks : std::array<Task, 4> {
  Tasks() {
    for (size_t i = 0; i < size(); ++i) (*this)[i].id = i + 1;
  }
};

}  // namespace yamanote
