// works.h - what tasks do while they are preempted; compiled with probes, but for
// MarkedWorks().
//
// Each is one line of docs/preemption-safety.md.

#pragma once

#include <vector>

#include "tests/preempt/campaign.h"

namespace yamanote::tests {

struct NamedWork {
  const char* name;
  bool (*work)(unsigned task, unsigned round);
  // False: this processor lacks what it is about, and it does nothing.
  bool possible = true;
};

// `n`, which the compiler does not know: a loop that it knows to be short has no
// probes.
inline int Unknown(int n) {
  asm volatile("" : "+r"(n));
  return n;
}

// Does nothing, with a probe each time: where a task is likely to be preempted.
inline void Linger(int times) {
  for (int i = Unknown(times); i > 0; --i) asm volatile("");
}

std::vector<NamedWork> LibraryWorks();   // works_library.cc
std::vector<NamedWork> LanguageWorks();  // works_language.cc
std::vector<NamedWork> LockWorks();      // works_locks.cc
std::vector<NamedWork> RuntimeWorks();   // works_runtime.cc

// Without probes, and marked for signals: Mechanism::kSignal preempts them, and
// little else. works_marked.cc
std::vector<NamedWork> MarkedWorks();

}  // namespace yamanote::tests
