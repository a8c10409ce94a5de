// background.h - the tasks of background classes: they run while nobody else would.
//
// For orders that have them (PolicyInfo::background). Among themselves they are served
// first come, first served, in slices; they give way at once when another task comes.
//
// Source: Humphries et al., "ghOSt", SOSP 2021, section 4.2 (Shinjuku beside batch work).

#pragma once

#include <vector>

#include "yamanote/policy.h"
#include "yamanote/task_queue.h"

namespace yamanote {

class Background {
 public:
  explicit Background(const PolicyOptions& options) : rejoin_(options.rejoin) {
    for (const ClassOptions& one : options.classes) {
      classes_.push_back(one.background);
      any_ = any_ || one.background;
    }
  }

  // Whether `task` belongs here.
  bool Has(const Task& task) const {
    if (!any_) return false;
    return classes_[task.request_class < classes_.size() ? task.request_class
                                                         : 0];
  }

  void Enqueue(Task& task, Wake why) {
    if (why == Wake::kPreempted && rejoin_ == Rejoin::kHead) {
      queue_.PushFront(task);
    } else {
      queue_.PushBack(task);
    }
  }
  Task* PickNext() { return queue_.PopFront(); }

  // A task's slice while tasks of other classes wait.
  static constexpr Duration kAtOnce{1};

 private:
  const Rejoin rejoin_;
  bool any_ = false;
  std::vector<bool> classes_;  // By ClassId.
  TaskQueue queue_;
};

}  // namespace yamanote
