// works.h - what tasks do while they are preempted; compiled with probes.
//
// Each is one line of docs/preemption-safety.md.

#pragma once

#include <vector>

#include "tests/preempt/campaign.h"

namespace yamanote::tests {

struct NamedWork {
  const char* name;
  bool (*work)(unsigned task, unsigned round);
};

std::vector<NamedWork> LibraryWorks();   // works_library.cc
std::vector<NamedWork> LanguageWorks();  // works_language.cc
std::vector<NamedWork> LockWorks();      // works_locks.cc

}  // namespace yamanote::tests
