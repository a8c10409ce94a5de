// trace.cc - one step: whose time was it?

#include "tools/bench/trace.h"

#include "worker/spawn.h"

namespace yamanote::bench {

bool Stint::Step() {
  const CoreId id = worker::CurrentCore();
  Trace::Core& core = trace_.core(id);
  const Instant now = Clock::now();
  if (core.occupant == this && core_ == id) {
    const Duration gap = now - last_;
    if (gap < Trace::kStall) {
      left_ -= gap;
      core.burned += gap;
    } else {
      core.stolen.push_back({last_, now});
      begun_ += gap;
    }
  } else {
    if (core_ != kNoCore) {
      core.stints.Record(static_cast<uint64_t>((last_ - begun_).count()));
    }
    // Who was here before did not finish: this is what a preemption costs.
    if (core.occupant != nullptr) {
      // Not if that took longer: then the core was idle, or taken away.
      const Duration gap = now - core.last;
      if (gap < 10 * Trace::kStall) core.lost += gap;
    }
    core.occupant = this;
    core_ = id;
    begun_ = now;
  }
  last_ = core.last = now;
  return left_ > Duration::zero();
}

Instant Stint::Finish() {
  trace_.core(core_).occupant = nullptr;
  return last_;
}

}  // namespace yamanote::bench
