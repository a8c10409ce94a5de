// burn.cc - the body of a request: a loop that is compiled with probes.

#include "tools/bench/trace.h"
#include "tools/bench/work.h"
#include "yamanote/preempt.h"

namespace yamanote::bench {

Instant Burn(Trace& trace, uint32_t service_ns) {
  Stint stint(trace, service_ns);
  while (stint.Step()) {
#if !defined(YAMANOTE_PREEMPTIBLE)
    Probe();
#endif
  }
  return stint.Finish();
}

void Work(const Trace& trace, uint64_t steps) { Grind(trace, steps); }

}  // namespace yamanote::bench
