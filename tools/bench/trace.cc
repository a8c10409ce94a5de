// trace.cc - one step: whose time was it?

#include "tools/bench/trace.h"

#include "tools/bench/work.h"
#include "worker/spawn.h"

namespace yamanote::bench {

namespace {

// Memory that is there, not only promised.
template <typename T>
void Touch(std::vector<T>& entries, size_t count) {
  entries.resize(count);
  entries.clear();
}

}  // namespace

Trace::Trace(unsigned cores) : cores_(cores) {
  for (Core& core : cores_) {
    Touch(core.preempted, kMostPreempted);
    Touch(core.stolen, kMostStolen);
  }
}

bool Stint::Step() {
  if (trace_.abandoned()) return false;
  const CoreId id = worker::CurrentCore();
  Trace::Core& core = trace_.core(id);
  const uint64_t number = worker::CurrentStint();
  const Instant now = Clock::now();
  if (core.occupant == this && core_ == id && number_ == number) {
    const Duration gap = now - last_;
    if (gap < Trace::kStall) {
      left_ -= gap;
      core.burned += gap;
      ++core.steps;
    } else {
      if (core.stolen.size() < Trace::kMostStolen)
        core.stolen.push_back({last_, now});
      stolen_ += gap;
    }
  } else {
    if (core_ != kNoCore && core.preempted.size() < Trace::kMostPreempted)
      core.preempted.push_back({begun_, last_, last_ - begun_ - stolen_});
    // Who was here before did not finish, perhaps this one, which went on at once: this is
    // what a preemption costs.
    if (core.occupant != nullptr) {
      // Not if that took longer: then the core was idle, or taken away.
      const Duration gap = now - core.last;
      if (gap < 10 * Trace::kStall) {
        core.lost += gap;
        ++core.losses;
      }
    }
    core.occupant = this;
    core_ = id;
    number_ = number;
    begun_ = now;
    stolen_ = Duration::zero();
  }
  last_ = core.last = now;
  return left_ > Duration::zero();
}

Instant Stint::Finish() {
  if (core_ != kNoCore) trace_.core(core_).occupant = nullptr;
  return last_;
}

void BareWork(const Trace& trace, uint64_t steps) { Grind(trace, steps); }

}  // namespace yamanote::bench
