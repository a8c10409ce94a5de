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

// Four tasks with the ids 1 .. 4, all of class 0.
struct Tasks : std::array<Task, 4> {
  Tasks() {
    for (size_t i = 0; i < size(); ++i) (*this)[i].id = i + 1;
  }
};

}  // namespace yamanote
