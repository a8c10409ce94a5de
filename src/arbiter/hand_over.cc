// hand_over.cc - how a core changes hands, and what becomes of those who are late.

#include <algorithm>
#include <utility>

#include "arbiter/arbiter.h"

namespace yamanote::arbiter {

// What the allocator has decided happens; and what comes of that.
void Arbiter::Apply() {
  while (!allocator_.changes().empty()) {
    changes_.assign(allocator_.changes().begin(), allocator_.changes().end());
    allocator_.TakeChanges();
    for (const Change& change : changes_) {
      if (change.kind == Change::Kind::kGrant) {
        Grant(change.app, change.core);
      } else {
        Revoke(change);
      }
    }
  }
}

void Arbiter::Grant(AppId id, CoreId core) {
  App& app = apps_[id];
  Worker& worker = app.workers[core];
  ++app.counters.grants;
  worker.fresh = true;
  worker.here = false;
  worker.why =
      app.applicant.limits.best_effort ? Why::kBestEffort : Why::kWanted;
  watches_[core] = {.since = now_, .remind = now_ + options_.revoke_deadline};
  if (std::exchange(worker.promised, false)) {
    board_.Confirm(id, core);
  } else {
    SetClass(id, core);
    worker.keeps = MayKeep(id, core);
    worker.no_more = false;
    FetchBack(id, core);
    board_.Grant(id, core, worker.keeps);
  }
  // An heir's, too: whoever left may have done so before it knew of the heir. Where
  // there is nobody to be woken any more it costs 0.2 us.
  board_.Wake(id, core);
  if (app.applicant.opaque) allocator_.Started(id, core);
}

void Arbiter::Revoke(const Change& change) {
  ++apps_[change.app].counters.revocations;
  watches_[change.core] = {.since = now_,
                           .remind = now_ + options_.revoke_deadline};
  const Applicant& owner = apps_[change.app].applicant;
  if (owner.opaque && owner.limits.best_effort) {
    // It cannot say when it has left, and need not: it is beneath whoever comes.
    board_.Revoke(change.app, change.core, kNobody);
    allocator_.Released(change.app, change.core);
    return;
  }
  if (change.heir != kNobody) {
    // Before the owner learns whom it is to wake.
    apps_[change.heir].workers[change.core].promised = true;
    SetClass(change.heir, change.core);
    Worker& heir = apps_[change.heir].workers[change.core];
    heir.keeps = MayKeep(change.heir, change.core);
    heir.no_more = false;
    FetchBack(change.heir, change.core);
    board_.GrantAfter(change.heir, change.core, change.app, heir.keeps);
  }
  board_.Revoke(change.app, change.core, change.heir);
  const Worker& worker = apps_[change.app].workers[change.core];
  if (allocator_.at_home(change.core)) SendHome(change.app, change.core);
  if (!worker.keeps) return;
  // After the command; pairs with the fences of Link::Return(), and of Link::KickIf() behind
  // Link::Rest(): either we see it away, or it sees the command.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  // Acquire: as in Observe().
  if (owner.signals[change.core].presence.load(std::memory_order_acquire) !=
      Presence(board_.epoch(change.app, change.core), false))
    return;
  // It sleeps, and looks before it runs anything.
  SendAside(change.app, change.core);
  allocator_.Released(change.app, change.core);
}

// Where a worker is in nobody's way but its own application's: on its home cores. False: it
// has none. A guest goes there when its host comes: beneath it, its task would go on when the
// host has nothing to do, and not even see that it is asked to leave.
bool Arbiter::SendHome(AppId id, CoreId core) {
  App& app = apps_[id];
  Worker& worker = app.workers[core];
  std::vector<int>& cpus = aside_cpus_;
  cpus.clear();
  for (CoreId home = allocator_.homes(id).NextFrom(0); home != kNoCore;
       home = allocator_.homes(id).NextFrom(home + 1))
    cpus.push_back(options_.cpus[home]);
  if (app.applicant.limits.best_effort || cpus.empty() || worker.tid == 0)
    return false;
  worker.aside = true;
  // Away first: in its own class it would have a share of the core.
  Count(id, kernel_.SetCpus(app.process, worker.tid, cpus));
  if (std::exchange(worker.which, ThreadClass::kNormal) !=
      ThreadClass::kNormal) {
    Count(id, kernel_.SetClass(app.process, worker.tid, ThreadClass::kNormal));
  }
  return true;
}

// Its application takes it for one that can be woken until it has come to itself and found
// that it cannot. On the core that is another's now it might wait for long, and be in the way.
void Arbiter::SendAside(AppId id, CoreId core) {
  static_cast<void>(SendHome(id, core));
  Count(id, kernel_.Signal(apps_[id].process, apps_[id].workers[core].tid));
}

void Arbiter::FetchBack(AppId id, CoreId core) {
  Worker& worker = apps_[id].workers[core];
  if (!std::exchange(worker.aside, false) || worker.tid == 0) return;
  Count(id, kernel_.SetCpus(apps_[id].process, worker.tid,
                            std::span(&options_.cpus[core], 1)));
}

// It may have looked just before: then it is recalled, as if it had not been told.
void Arbiter::EndKeeping(AppId id, CoreId core) {
  apps_[id].workers[core].no_more = true;
  board_.EndKeeping(id, core);
}

// A guest is SCHED_IDLE as well as who is beneath everybody, so these would have half of the
// core, and a guest would wait for the end of their slices.
void Arbiter::MakeRoomForGuests() {
  for (CoreId core = 0; core < cores(); ++core) {
    const AppId owner = allocator_.owner(core);
    const bool guest = owner != kNobody && allocator_.home(core) != kNobody &&
                       !apps_[owner].applicant.limits.best_effort;
    if (guest == guests_.Contains(core)) continue;
    guests_.Set(core, guest);
    for (AppId id = 0; id < apps_.size(); ++id) {
      if (!apps_[id].beneath) continue;
      if (guest) {
        board_.Revoke(id, core, kNobody);
      } else {
        board_.Grant(id, core);
      }
    }
  }
}

// Whether a worker that is granted `core` now keeps it when it leaves by itself.
bool Arbiter::MayKeep(AppId id, CoreId core) const {
  const Applicant& applicant = apps_[id].applicant;
  return applicant.keeps && !applicant.limits.best_effort &&
         allocator_.home(core) == kNobody;
}

// Deals with one core whose worker has been told something.
void Arbiter::Hasten(CoreId core, Duration now) {
  const CoreState state = allocator_.state(core);
  if (state != CoreState::kGranted && state != CoreState::kRevoked) return;
  Watch& watch = watches_[core];
  bool over = now - watch.since >= options_.move_deadline;
  if (now < watch.remind && !over) return;
  const AppId id = allocator_.owner(core);
  App& app = apps_[id];
  if (over && state == CoreState::kRevoked && !watch.reminded &&
      !app.applicant.opaque) {
    // It was this process that had no core. The worker gets its signal first.
    watch.since = now - options_.move_deadline + options_.revoke_deadline;
    over = false;
  }
  if (app.applicant.opaque) {
    // It cannot say when it has left; it has had its time.
    allocator_.Released(id, core);
    Apply();
    return;
  }
  if (over) {
    if (state == CoreState::kRevoked) {
      ++app.counters.moves;
      MoveAway(id, core);
      return;
    }
    const bool expected =
        app.workers[core].why != Why::kAdopted || now - watch.since >= kPardon;
    if (!app.applicant.limits.best_effort && expected) {
      ++app.counters.no_shows;
      board_.Revoke(id, core, kNobody);
      MoveAway(id, core);
      return;
    }
  }
  if (now < watch.remind) return;
  if (state == CoreState::kGranted) board_.Wake(id, core);
  if (state == CoreState::kRevoked || watch.reminded) {
    const int tid = app.workers[core].tid;
    // One that may have no time to come needs no reminder but the wake-up.
    const bool may_wait =
        state == CoreState::kGranted && app.applicant.limits.best_effort;
    if (tid != 0 && !may_wait) {
      ++app.counters.signals;
      Count(id, kernel_.Signal(app.process, tid));
    }
  }
  // Once more soon where it has not been signalled yet.
  watch.remind =
      now + (state == CoreState::kRevoked || watch.reminded ? 10 : 1) *
                options_.revoke_deadline;
  watch.reminded = true;
}

// The core goes on without an answer.
void Arbiter::MoveAway(AppId id, CoreId core) {
  Worker& worker = apps_[id].workers[core];
  SetLate(worker, true);
  worker.late_since = now_;
  PutAside(id, core);
  Bar(id, core);
  // Nor does it get another in this pass.
  allocator_.Want(id, Wish::kSame);
  allocator_.Released(id, core);
  Apply();
}

// It holds a core that cannot be its own any more: somebody else has it, or may. So it is
// late from the start; but not by its fault, so its thread is not put beneath others: it
// may run a task.
void Arbiter::Disown(AppId id, CoreId core) {
  App& app = apps_[id];
  Worker& worker = app.workers[core];
  board_.Grant(id, core);
  board_.Revoke(id, core, kNobody);
  if (worker.tid == 0) return;
  SetLate(worker, true);
  worker.late_since = now_;
  if (!app.applicant.limits.best_effort &&
      std::exchange(worker.which, ThreadClass::kNormal) !=
          ThreadClass::kNormal) {
    Count(id, kernel_.SetClass(app.process, worker.tid, ThreadClass::kNormal));
  }
  Count(id, kernel_.SetCpus(app.process, worker.tid, options_.elsewhere));
  Count(id, kernel_.Signal(app.process, worker.tid));
  Bar(id, core);
}

void Arbiter::SetLate(Worker& worker, bool late) {
  if (std::exchange(worker.late, late) == late) return;
  late ? ++late_ : --late_;
}

// Where a worker that is late does not hold up the core: to what its application has for
// itself, where its task goes on at the cost of that application's others alone.
void Arbiter::PutAside(AppId id, CoreId core) {
  App& app = apps_[id];
  Worker& worker = app.workers[core];
  if (worker.tid == 0) return;
  if (SendHome(id, core)) return;
  // For ever it would be too much for having been late.
  if (restores_ || app.applicant.limits.best_effort) {
    worker.which = ThreadClass::kBeneath;
    Count(id, kernel_.SetClass(app.process, worker.tid, ThreadClass::kBeneath));
  }
  Count(id, kernel_.SetCpus(app.process, worker.tid, options_.elsewhere));
}

// It has answered, or need not any more.
void Arbiter::TakeBack(AppId id, CoreId core) {
  App& app = apps_[id];
  Worker& worker = app.workers[core];
  SetLate(worker, false);
  if (worker.tid != 0) {
    Count(id, kernel_.SetCpus(app.process, worker.tid,
                              std::span(&options_.cpus[core], 1)));
    SetClass(id, core);
  }
  Bar(id, core);
}

// One system call, when it changes.
void Arbiter::SetClass(AppId id, CoreId core) {
  App& app = apps_[id];
  Worker& worker = app.workers[core];
  if (worker.tid == 0 || worker.late) return;
  const AppId host = allocator_.home(core);
  // A guest that could not rise again would be beneath for ever.
  const bool guest = host != kNobody && host != id && restores_;
  const ThreadClass which = app.applicant.limits.best_effort || guest
                                ? ThreadClass::kBeneath
                                : ThreadClass::kNormal;
  if (worker.which == which) return;
  worker.which = which;
  Count(id, kernel_.SetClass(app.process, worker.tid, which));
}

void Arbiter::Count(AppId id, bool done) {
  if (!done) ++apps_[id].counters.refusals;
}

void Arbiter::Bar(AppId id, CoreId core) {
  const App& app = apps_[id];
  const Worker& worker = app.workers[core];
  const bool can_come = app.applicant.opaque ? app.ready : worker.tid != 0;
  allocator_.Bar(id, core, !can_come || worker.late);
}

// ---- What is told of it -----------------------------------------------------

Status Arbiter::status() const {
  Status status{.cpus = options_.cpus,
                .guaranteed = allocator_.guaranteed(),
                .apps = {},
                .times = times_};
  for (AppId id = 0; id < apps_.size(); ++id) {
    const App& app = apps_[id];
    if (!app.present) continue;
    AppStatus one{.name = app.applicant.name,
                  .pid = app.process.pid,
                  .uid = app.process.uid,
                  .policy = std::string(app.applicant.policy->name),
                  .limits = app.applicant.limits,
                  .opaque = app.applicant.opaque,
                  .wants = allocator_.wants(id),
                  .cores = {},
                  .counters = app.counters};
    for (CoreId core = 0; core < cores(); ++core) {
      HeldCore held{.core = core, .cpu = options_.cpus[core]};
      if (app.beneath) {
        held.state = CoreState::kRunning;
        held.why = Why::kBestEffort;
        one.cores.push_back(held);
      } else if (allocator_.home(core) == id) {
        held.state =
            allocator_.at_home(core) ? CoreState::kRunning : CoreState::kIdle;
        one.cores.push_back(held);
      } else if (allocator_.owner(core) == id) {
        held.state = allocator_.state(core);
        held.why = app.workers[core].why;
        one.cores.push_back(held);
      }
    }
    status.apps.push_back(std::move(one));
  }
  return status;
}

std::string_view ToString(Why why) {
  switch (why) {
    case Why::kHome:
      return "home";
    case Why::kWanted:
      return "wanted";
    case Why::kBestEffort:
      return "best-effort";
    case Why::kAdopted:
      return "adopted";
  }
  return "unknown";
}

std::string_view ToString(CoreState state) {
  switch (state) {
    case CoreState::kIdle:
      return "away";
    case CoreState::kGranted:
      return "granted";
    case CoreState::kRunning:
      return "running";
    case CoreState::kRevoked:
      return "revoked";
    case CoreState::kKept:
      return "kept";
  }
  return "unknown";
}

}  // namespace yamanote::arbiter
