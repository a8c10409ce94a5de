// engine_cores.cc - cores that an arbiter grants and revokes.
//
//   kAway -Grant-> kLooking -> kParked, kRunning, ... -Revoke-> kLeaving -> kAway
//
// A granted core looks after Costs::core_grant. A core that is revoked hears of it after
// Costs::hop, as of the end of a slice; its task goes to another that is held, and it is
// gone after Costs::core_revoke. One that parks by itself is gone at once.
//
// Tasks are never lost with a core: what waits there goes to the others, or stays until
// one is granted.

#include <utility>

#include "base/check.h"
#include "sim/engine.h"

namespace yamanote::sim {

void Engine::Grant(CoreId core, Instant now) {
  YAMANOTE_CHECK(cores_[core].doing == Doing::kAway,
                 "a core is granted to who does not have it");
  PassTo(now);
  cores_[core].doing = Doing::kLooking;
  ++named_;
  Beside(costs_.core_grant);
  placement_->SetHeld(core, true, PolicyNow());
  BeginIdle(core);
  timeline_.Set(core, now_ + costs_.core_grant);
}

void Engine::Revoke(CoreId id, Instant now) {
  Core& core = cores_[id];
  YAMANOTE_CHECK(core.doing != Doing::kAway && !core.revoked,
                 "a core is revoked once, of who has it");
  PassTo(now);
  core.revoked = true;
  switch (core.doing) {
    case Doing::kParked:
      idle_.Remove(id);
      core.doing = Doing::kLooking;
      ++named_;
      timeline_.Set(id, now_ + costs_.hop);
      return;
    case Doing::kRunning:
    case Doing::kOverdue:
    case Doing::kAsked:
      if (core.doing == Doing::kOverdue) overdue_.Remove(id);
      core.doing = Doing::kAsked;
      timeline_.Set(id, std::min(core.end, now_ + costs_.hop));
      return;
    case Doing::kLooking:
    case Doing::kLeaving:
      return;  // It comes to itself anyway.
    case Doing::kServing:
    case Doing::kAway:
      YAMANOTE_CHECK(false, "a dispatcher's core is not an arbiter's");
  }
}

// Gives the core up: it finds nothing, or it is revoked. What waits there goes on.
void Engine::Leave(CoreId id) {
  Core& core = cores_[id];
  EndIdle(id);
  if (core.doing == Doing::kParked) idle_.Remove(id);
  const bool revoked = std::exchange(core.revoked, false);
  core.doing = Doing::kLeaving;
  core.job = nullptr;
  placement_->Leave(id);
  Notify(placement_->SetHeld(id, false, PolicyNow()));
  if (revoked && costs_.core_revoke > Duration::zero()) {
    Beside(costs_.core_revoke);
    timeline_.Set(id, now_ + costs_.core_revoke);
    return;
  }
  BeAway(id);
}

void Engine::BeAway(CoreId core) {
  cores_[core].doing = Doing::kAway;
  timeline_.Set(core, kNever);
  owner_->Released(core);
}

void Engine::BeginIdle(CoreId core) {
  if (std::exchange(cores_[core].idle, true)) return;
  cores_[core].idle_since = now_;
}

void Engine::EndIdle(CoreId core) {
  if (!std::exchange(cores_[core].idle, false)) return;
  cores_[core].idle_for += now_ - cores_[core].idle_since;
}

void Engine::Show(std::span<CoreSample> cores, Instant now) {
  for (CoreId id = 0; id < count_; ++id) {
    const Core& core = cores_[id];
    // Relaxed: there is one thread.
    const arbiter::CoreSignals& signals = signals_[id];
    const int64_t since = signals.oldest_since.load(std::memory_order_relaxed);
    cores[id] = {
        .core = id,
        .enqueued = signals.enqueued.load(std::memory_order_relaxed),
        .taken = signals.taken.load(std::memory_order_relaxed),
        .oldest =
            since == 0 ? Duration(0) : now.time_since_epoch() - Duration(since),
        .idle = core.idle_for +
                (core.idle ? now - core.idle_since : Duration::zero()),
        .held = core.doing != Doing::kAway && core.doing != Doing::kLeaving,
        .looking = core.idle};
  }
}

}  // namespace yamanote::sim
