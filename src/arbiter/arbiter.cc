// arbiter.cc - applications come and go, and the pass over them.

#include "arbiter/arbiter.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/check.h"

namespace yamanote::arbiter {
namespace {

std::vector<CoreId> SiblingsOf(const ArbiterOptions& options) {
  if (!options.siblings.empty()) return options.siblings;
  return std::vector<CoreId>(options.cpus.size(), kNoCore);
}

}  // namespace

Arbiter::Arbiter(const ArbiterOptions& options, void* board, Kernel& kernel)
    : options_(options),
      kernel_(kernel),
      restores_(kernel.Restores()),
      board_(board, static_cast<unsigned>(options.cpus.size()), kernel),
      allocator_(SiblingsOf(options), kMostApps, Homes::kAssigned),
      apps_(kMostApps),
      watches_(options.cpus.size()),
      guests_(static_cast<unsigned>(options.cpus.size())) {
  YAMANOTE_CHECK(!options.cpus.empty() && options.cpus.size() <= kMostCores,
                 "the board has a place for each core");
  YAMANOTE_CHECK(!options.elsewhere.empty(), "who is moved goes somewhere");
  samples_.reserve(options.cpus.size());
  aside_cpus_.reserve(options.cpus.size());
  // In one call an application comes or goes, and each core changes hands twice.
  changes_.reserve(8 * (options.cpus.size() + kMostApps));
}

Arbiter::~Arbiter() = default;

// ---- Applications -----------------------------------------------------------

AppId Arbiter::Add(Applicant&& applicant, Process&& process) {
  const AppId id = allocator_.Add(applicant.limits,
                                  std::span(applicant.homes).first(cores()));
  if (id == kNobody) return kNobody;
  App& app = apps_[id];
  app = App{};
  app.present = true;
  app.applicant = std::move(applicant);
  app.process = std::move(process);
  CorePolicyOptions policies = options_.policies;
  policies.cores = cores();
  app.policy = app.applicant.policy->make(policies);
  app.workers.resize(cores());
  app.looked = base::CoreSet(cores());
  app.had = base::CoreSet(cores());
  app.recent.fill(kNoCore);
  app.decided = kernel_.Now();
  board_.Clear(id);
  for (CoreId core = 0; core < cores(); ++core) {
    Bar(id, core);
    if (allocator_.home(core) != id) continue;
    board_.Grant(id, core);
    // Who is there is a guest now.
    if (const AppId guest = allocator_.owner(core); guest != kNobody) {
      SetClass(guest, core);
      EndKeeping(guest, core);
    }
    if (const AppId heir = allocator_.heir(core); heir != kNobody) {
      SetClass(heir, core);
      EndKeeping(heir, core);
    }
    // It shows no presence, so it has to be believed to be there.
    if (app.applicant.opaque) allocator_.Came(id, core);
  }
  app.beneath = app.applicant.opaque && app.applicant.limits.best_effort &&
                app.applicant.limits.most >= cores();
  if (app.beneath) {
    ++beneath_;
    // If there was nobody beneath, guests_ is old; the next pass sees to that.
    for (CoreId core = 0; core < cores(); ++core) {
      if (!guests_.Contains(core)) board_.Grant(id, core);
    }
  }
  app.adopting = !app.beneath;
  now_ = kernel_.Now();
  Apply();
  if (app.applicant.opaque) Begin(id);
  return id;
}

// Its workers are known, if it has any.
void Arbiter::Begin(AppId id) {
  App& app = apps_[id];
  app.ready = true;
  for (CoreId core = 0; core < cores(); ++core) Bar(id, core);
  if (!std::exchange(app.adopting, false)) return;
  for (CoreId core = 0; core < cores(); ++core) {
    if (!app.applicant.held[core] && !app.applicant.homes[core]) continue;
    if (allocator_.home(core) == id) continue;
    if (!allocator_.Adopt(id, core)) {
      Disown(id, core);
      continue;
    }
    Apply();
    app.workers[core].why = Why::kAdopted;
  }
}

Result<void> Arbiter::SetWorkers(AppId id, std::span<const int32_t> tids) {
  App& app = apps_[id];
  for (CoreId core = 0; core < cores(); ++core) {
    if (tids[core] != 0 && !kernel_.Has(app.process, tids[core])) {
      return MakeError(
          ErrorCode::kInvalidArgument,
          "tids[" + std::to_string(core) + "] = " + std::to_string(tids[core]) +
              " is no thread of process " + std::to_string(app.process.pid) +
              "; name the process's own, as the host numbers them, or 0",
          EINVAL);
    }
  }
  now_ = kernel_.Now();
  for (CoreId core = 0; core < cores(); ++core) {
    Worker& worker = app.workers[core];
    if (worker.tid == tids[core]) continue;
    worker.tid = tids[core];
    worker.which = ThreadClass::kUnknown;
    worker.aside = false;
    // Another thread is no answer of the one that was late.
    if (worker.late) {
      PutAside(id, core);
      continue;
    }
    if (worker.tid == 0) continue;
    // An arbiter that was lost may have moved it.
    Count(id, kernel_.SetCpus(app.process, worker.tid,
                              std::span(&options_.cpus[core], 1)));
    SetClass(id, core);
  }
  Begin(id);
  return {};
}

void Arbiter::Remove(AppId id) {
  YAMANOTE_CHECK(apps_[id].present, "it is removed once");
  now_ = kernel_.Now();
  std::vector<CoreId> homes;
  for (CoreId core = 0; core < cores(); ++core) {
    if (allocator_.home(core) == id) homes.push_back(core);
    // In case only its connection is gone.
    if (apps_[id].workers[core].late) TakeBack(id, core);
  }
  allocator_.Remove(id);
  if (apps_[id].beneath) --beneath_;
  apps_[id] = App{};
  Apply();
  // Guests there are none any more.
  for (const CoreId core : homes) {
    if (const AppId owner = allocator_.owner(core); owner != kNobody)
      SetClass(owner, core);
    if (const AppId heir = allocator_.heir(core); heir != kNobody)
      SetClass(heir, core);
  }
}

void Arbiter::Restore() {
  for (AppId id = 0; id < apps_.size(); ++id) {
    for (CoreId core = 0; core < apps_[id].workers.size(); ++core) {
      if (apps_[id].workers[core].late) TakeBack(id, core);
    }
  }
}

// ---- The pass ---------------------------------------------------------------

void Arbiter::Look(Duration now) {
  const auto swept = static_cast<unsigned>(std::min<int64_t>(
      1 + (now - std::exchange(swept_, now)) / kSweep, cores()));
  now_ = now;
  for (AppId id = 0; id < apps_.size(); ++id) {
    App& app = apps_[id];
    if (!app.present || app.applicant.opaque) continue;
    ChooseLines(app, id, swept);
    for (CoreId core = app.looked.NextFrom(0); core != kNoCore;
         core = app.looked.NextFrom(core + 1)) {
      Observe(id, core);
      // At once: who is read next must not seem to have answered a grant that it was
      // not told of.
      Apply();
    }
  }
}

void Arbiter::Pass(Duration now) {
  Look(now);
  for (CoreId core = 0; core < cores(); ++core) Hasten(core, now);
  for (AppId id = 0; id < apps_.size(); ++id) {
    if (apps_[id].ready) Decide(id, now);
  }
  allocator_.Settle();
  Apply();
  if (beneath_ != 0) MakeRoomForGuests();
  const Duration took = kernel_.Now() - now;
  ++times_.passes;
  times_.total += took;
  times_.longest = std::max(times_.longest, took);
}

void Arbiter::ChooseLines(App& app, AppId id, unsigned swept) const {
  app.looked.Clear();
  app.looked.Unite(allocator_.owned(id));
  app.looked.Unite(allocator_.homes(id));
  app.looked.Unite(allocator_.inherits(id));
  app.looked.Unite(app.had);
  for (const CoreId core : app.recent) {
    if (core != kNoCore) app.looked.Add(core);
  }
  // Of any that are looked at anyway none is skipped, so that nobody who holds many cores
  // is swept faster than others.
  for (unsigned i = 0; i < swept; ++i) {
    app.looked.Add(app.sweep);
    app.sweep = app.sweep + 1 == cores() ? 0 : app.sweep + 1;
  }
}

// What the presence of one worker means. Said once a pass; a word that makes no sense is
// counted when it is new.
void Arbiter::Observe(AppId id, CoreId core) {
  App& app = apps_[id];
  Worker& worker = app.workers[core];
  // Acquire, pairs with the worker's release: who is away has left its tasks.
  const uint32_t word =
      app.applicant.signals[core].presence.load(std::memory_order_acquire);
  const bool is_new = word != std::exchange(worker.presence, word);
  const bool current = word >> 1 == board_.epoch(id, core);
  const bool here = (word & 1) != 0;
  worker.here = here && current;
  bool forged = here && !current;
  if (allocator_.home(core) == id) {
    worker.here ? allocator_.Came(id, core) : allocator_.Released(id, core);
  } else if (allocator_.owner(core) == id) {
    if (worker.here) {
      allocator_.Started(id, core);
    } else if (current) {
      Left(id, core);
    }
  } else if (worker.late) {
    // Who was asleep all the time may have nothing to answer.
    if (!here && (current || now_ - worker.late_since >= kPardon))
      TakeBack(id, core);
    forged = false;  // The grant is over, the worker may not know it yet.
  } else if (worker.promised) {
    // The owner has left it the core already; seen in the next pass.
  } else {
    // Who kept the core may have come back just when it was taken: it is on its way out.
    forged = here && !(current && worker.keeps);
  }
  if (forged) {
    worker.here = false;
    if (is_new) ++app.counters.forgeries;
  }
}

// Who owns `core` is away.
void Arbiter::Left(AppId id, CoreId core) {
  const CoreState state = allocator_.state(core);
  if (state == CoreState::kKept) return;
  const bool by_itself = state != CoreState::kRevoked;
  // Then what it wanted in the last pass it does not any more.
  if (by_itself) allocator_.Want(id, Wish::kSame);
  if (by_itself && apps_[id].workers[core].keeps) {
    if (apps_[id].workers[core].no_more || !allocator_.Keep(id, core))
      allocator_.Recall(core);
    return;
  }
  allocator_.Released(id, core);
}

void Arbiter::Decide(AppId id, Duration now) {
  App& app = apps_[id];
  if (app.beneath) return;
  if (app.applicant.opaque) {
    allocator_.Want(id, Wish::kMore);
    return;
  }
  const Duration elapsed = now - app.decided;
  if (elapsed <= Duration::zero()) return;
  app.decided = now;
  CoreId spare = kNoCore;
  bool needs = false;
  samples_.clear();
  // What it was granted meanwhile, too.
  app.looked.Unite(allocator_.owned(id));
  for (CoreId core = app.looked.NextFrom(0); core != kNoCore;
       core = app.looked.NextFrom(core + 1)) {
    Worker& worker = app.workers[core];
    CoreSample& sample = samples_.emplace_back();
    sample.core = core;
    if (!worker.shown.Read(app.applicant.signals[core], now, sample))
      ++app.counters.forgeries;
    const bool owned = allocator_.owner(core) == id;
    const bool home = allocator_.home(core) == id;
    sample.held = home ? allocator_.at_home(core)
                       : owned && allocator_.state(core) != CoreState::kKept;
    sample.looking = sample.looking && sample.held && worker.here;
    needs = needs || sample.Waiting() != 0;
    sample.fresh = std::exchange(worker.fresh, false) && sample.held;
    // Who keeps its cores leaves them by itself, and would have to ask for this one again.
    if (sample.looking && !sample.fresh && owned &&
        !(worker.keeps && app.applicant.parks))
      spare = core;
    const bool moved =
        std::exchange(worker.enqueued, sample.enqueued) != sample.enqueued;
    if (!owned && !home && (moved || sample.Waiting() != 0)) {
      const auto found = std::ranges::find(app.recent, core);
      const auto end = found == app.recent.end() ? found - 1 : found;
      std::move_backward(app.recent.begin(), end, end + 1);
      app.recent.front() = core;
    }
  }
  app.had = allocator_.owned(id);
  const Wish wish = app.policy->Decide(
      {.cores = samples_, .held = allocator_.held(id), .elapsed = elapsed});
  allocator_.Want(id, wish, spare, needs);
}

Duration Arbiter::NextDue(Duration now, Duration idle_interval) const {
  Duration due = Duration::max();
  for (CoreId core = 0; core < cores(); ++core) {
    const CoreState state = allocator_.state(core);
    if (state == CoreState::kIdle || state == CoreState::kKept) continue;
    due = std::min(due, now + idle_interval);
    if (state == CoreState::kRunning) continue;
    const Watch& watch = watches_[core];
    due = std::min(due, watch.remind);
    const Duration over = watch.since + options_.move_deadline;
    if (over > now) due = std::min(due, over);
  }
  for (AppId id = 0; id < apps_.size(); ++id) {
    const App& app = apps_[id];
    if (!app.present) continue;
    // An opaque application wants more for ever: what it may have it has after a pass.
    if (allocator_.needs(id) && !app.applicant.opaque)
      due = std::min(due, now + idle_interval);
  }
  if (late_ != 0) due = std::min(due, now + idle_interval);
  return due;
}

bool Arbiter::AnybodyWaits() const {
  for (AppId id = 0; id < apps_.size(); ++id) {
    if (apps_[id].present && !apps_[id].applicant.limits.best_effort &&
        allocator_.hungry(id) && allocator_.needs(id) && allocator_.Lacks(id))
      return true;
  }
  return false;
}

}  // namespace yamanote::arbiter
