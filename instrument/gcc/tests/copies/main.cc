// main.cc - runs both kinds of units' uses, and counts the probes that they meet.

#include <cinttypes>
#include <cstdio>
#include <cstdlib>

#include "instrument/gcc/tests/copies/side.h"

extern "C" {
thread_local unsigned char yamanote_preempt_flag = 1;
thread_local uintptr_t yamanote_preempt_guard;
static uint64_t probes;
void stand_in_hit(uintptr_t, uintptr_t) { ++probes; }
}

namespace {

void Check(bool holds, const char* name, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "copies: %s: %s\n", name, what);
  std::exit(1);
}

// Returns the result, which must be the same on both sides.
uint64_t Run(const Use& use, uint64_t n, bool expects_probes) {
  const uint64_t before = probes;
  const uint64_t result = use.run(n);
  if (!use.crosses) {
    Check((probes != before) == expects_probes, use.name,
          expects_probes ? "no probe was met" : "a probe was met");
  }
  return result;
}

}  // namespace

int main() {
  for (uint64_t n = 5000; n < 5002; ++n) {
    const Use* plain = without_probes.begin;
    for (const Use* use = with_probes.begin; use != with_probes.end; ++use) {
      Check(Run(*plain, n, false) == Run(*use, n, true), use->name,
            "the results differ");
      ++plain;
    }
  }
  Check(*without_probes.initialised == *with_probes.initialised &&
            without_probes.initialised == with_probes.initialised,
        "initialised", "there are two");
  const uint64_t count = ++*without_probes.counter();
  Check(++*with_probes.counter() == count + 1, "counter", "there are two");
  std::printf("%" PRIu64 " probes\n", probes);
  return 0;
}
