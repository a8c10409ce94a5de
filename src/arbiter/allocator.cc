// allocator.cc - grants, revocations and who inherits what.

#include "arbiter/allocator.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "base/check.h"

namespace yamanote::arbiter {

namespace {

bool Has(std::span<const uint64_t> words, CoreId core) {
  return (words[core / 64] >> (core % 64) & 1) != 0;
}

}  // namespace

Allocator::Allocator(std::vector<CoreId> siblings, unsigned most_apps,
                     Homes homes)
    : homes_(homes),
      cores_(siblings.size()),
      apps_(most_apps),
      idle_(cores()),
      taken_(cores()),
      kept_(cores()),
      best_effort_(cores()),
      lent_(cores()),
      hosted_(cores()),
      chosen_(idle_.words().size()),
      some_(idle_.words().size()) {
  YAMANOTE_CHECK(!siblings.empty(), "an allocator needs a core");
  for (CoreId core = 0; core < cores(); ++core) {
    cores_[core].sibling = siblings[core];
    idle_.Add(core);
  }
  for (App& app : apps_) {
    for (base::CoreSet* const set :
         {&app.owned, &app.home, &app.heirs, &app.beside, &app.barred})
      *set = base::CoreSet(cores());
  }
  // In a pass each application gets one core or loses one, and one is taken for it.
  changes_.reserve(4 * siblings.size() + 4 * most_apps);
}

AppId Allocator::Add(const Limits& limits, std::span<const bool> homes) {
  YAMANOTE_CHECK(limits.most >= 1 && limits.most >= limits.guaranteed,
                 "an application may have at least a core, and its guarantee");
  if (limits.guaranteed > cores() - guaranteed_) return kNobody;
  for (AppId id = 0; id < apps_.size(); ++id) {
    App& app = apps_[id];
    if (app.present) continue;
    const bool at_home = homes_ == Homes::kAssigned;
    // What it holds, inherits or is at home in ended with Remove().
    app.present = true;
    app.wants = false;
    app.limits = limits;
    app.due = at_home ? 0 : limits.guaranteed;
    app.most = limits.most - (at_home ? limits.guaranteed : 0);
    app.homes = at_home ? limits.guaranteed : 0;
    app.without = 0;
    app.barred.Clear();
    app.left.fill(kNoCore);
    guaranteed_ += limits.guaranteed;
    AssignHomes(id, homes);
    return id;
  }
  return kNobody;
}

// One after another: one that it has wished for; the sibling of one that it has already;
// or, while more than one is missing, one whose sibling is to be had, too; then an idle
// one.
void Allocator::AssignHomes(AppId app, std::span<const bool> wished) {
  for (unsigned missing = apps_[app].homes; missing > 0; --missing) {
    const auto score = [&](const Core& core) {
      const AppId beside =
          core.sibling == kNoCore ? kNobody : cores_[core.sibling].home;
      const bool pair = core.sibling != kNoCore && beside == kNobody;
      const auto number = static_cast<std::size_t>(&core - cores_.data());
      return (!wished.empty() && wished[number] ? 8 : 0) +
             (beside == app ? 4 : 0) + (pair == (missing > 1) ? 2 : 0) +
             (core.state == CoreState::kIdle ? 1 : 0);
    };
    Core* best = nullptr;
    for (Core& core : cores_) {
      if (core.home != kNobody) continue;
      if (best == nullptr || score(core) > score(*best)) best = &core;
    }
    best->home = app;
    const auto id = static_cast<CoreId>(best - cores_.data());
    lent_.Add(id);
    apps_[app].home.Add(id);
    SetBeside(app, id);
    // Its own come back there, and nobody else.
    if (best->state == CoreState::kKept) Recall(id);
  }
}

// `core` has become one of its own, or is none any more.
void Allocator::SetBeside(AppId id, CoreId core) {
  App& app = apps_[id];
  if (const CoreId sibling = cores_[core].sibling; sibling != kNoCore)
    app.beside.Set(sibling,
                   app.owned.Contains(core) || app.home.Contains(core));
}

void Allocator::Remove(AppId app) {
  YAMANOTE_CHECK(apps_[app].present, "it is removed once");
  apps_[app].present = false;
  guaranteed_ -= apps_[app].limits.guaranteed;
  for (CoreId core = 0; core < cores(); ++core) {
    if (cores_[core].heir == app) {
      --apps_[app].promised;
      apps_[app].heirs.Remove(core);
      cores_[core].heir = kNobody;
    }
    if (cores_[core].owner == app) Released(app, core);
    if (cores_[core].home == app) {
      if (std::exchange(cores_[core].at_home, false)) {
        hosted_.Remove(core);
        --apps_[app].at_home;
      }
      cores_[core].home = kNobody;
      lent_.Remove(core);
      apps_[app].home.Remove(core);
      SetBeside(app, core);
      // Nobody wants it who might have had it before, but those who might now.
      if (cores_[core].state == CoreState::kIdle) HandOn(core);
    }
    // The next to have its number is somebody else.
    if (cores_[core].left == app) cores_[core].left = kNobody;
    if (cores_[core].before == app) cores_[core].before = kNobody;
  }
}

// ---- A pass -----------------------------------------------------------------

void Allocator::Want(AppId id, Wish wish, CoreId spare, bool needs) {
  App& app = apps_[id];
  app.wants = wish == Wish::kMore;
  app.needs = needs;
  if (wish != Wish::kFewer || spare == kNoCore) return;
  const Core& core = cores_[spare];
  if (core.owner == id && core.state == CoreState::kRunning)
    Revoke(spare, kNobody);
}

void Allocator::Settle() {
  ++passes_;
  const auto count = static_cast<AppId>(apps_.size());
  const auto for_all = [&](auto&& work) {
    for (AppId i = 0; i < count; ++i) {
      const AppId id = first_ + i < count ? first_ + i : first_ + i - count;
      if (apps_[id].wants && apps_[id].Hungry()) work(id);
    }
  };
  const auto best_effort = [this](std::size_t i) {
    return best_effort_.words()[i];
  };
  for_all([&](AppId id) {
    App& app = apps_[id];
    if (app.Future() >= app.due) return;
    if (GiveFree(id) || TakeFor(id, best_effort)) {
      app.wants = false;
      return;
    }
    std::ranges::fill(some_, 0);
    for (const App& other : apps_) {
      if (other.Burst() == 0) continue;
      for (std::size_t i = 0; i < some_.size(); ++i)
        some_[i] |= other.owned.words()[i];
    }
    if (TakeFor(id, [this](std::size_t i) { return some_[i]; }))
      app.wants = false;
  });
  for_all([&](AppId id) {
    if (apps_[id].limits.best_effort) return;
    if (GiveFree(id) || TakeFor(id, best_effort)) apps_[id].wants = false;
  });
  Share(/*best_effort=*/false);
  for_all([&](AppId id) {
    if (GiveFree(id)) apps_[id].wants = false;
  });
  Share(/*best_effort=*/true);
  first_ = (first_ + 1) % count;
  for (App& app : apps_)
    app.without =
        app.wants && app.Hungry() && app.Future() == 0 ? app.without + 1 : 0;
}

// One core from the application of that kind that has the most beyond its guarantee to
// the hungry one that has the fewest, if that makes them more alike.
void Allocator::Share(bool best_effort) {
  AppId rich = kNobody;
  for (AppId id = 0; id < apps_.size(); ++id) {
    const App& app = apps_[id];
    if (!app.present || app.limits.best_effort != best_effort) continue;
    if (rich == kNobody || app.Burst() > apps_[rich].Burst()) rich = id;
  }
  if (rich == kNobody || apps_[rich].Burst() == 0) return;
  if (apps_[rich].Burst() == 1) return TakeTurns(best_effort);
  const auto of_rich = [this, rich](std::size_t i) {
    return apps_[rich].owned.words()[i] & taken_.words()[i];
  };
  // Who is barred from all of them must not keep others from their turn.
  const AppId poor = Hungriest(best_effort, [&](AppId app) {
    return app != rich && Narrow(app, of_rich);
  });
  if (poor == kNobody || apps_[rich].Burst() < apps_[poor].Burst() + 2) return;
  if (TakeFor(poor, of_rich)) apps_[poor].wants = false;
}

// Nobody of that kind has more than one. The longest held goes to who has waited for the
// longest.
void Allocator::TakeTurns(bool best_effort) {
  bool waits = false;
  std::ranges::fill(some_, 0);
  for (const App& app : apps_) {
    if (!app.present || app.limits.best_effort != best_effort) continue;
    waits = waits || app.without >= kPatience;
    if (app.Burst() == 0) continue;
    for (std::size_t i = 0; i < some_.size(); ++i)
      some_[i] |= app.owned.words()[i] & taken_.words()[i];
  }
  if (!waits) return;
  for (CoreId core = 0; core < cores(); ++core) {
    if (passes_ - cores_[core].since < kPatience)
      some_[core / 64] &= ~(uint64_t{1} << (core % 64));
  }
  const auto ripe = [this](std::size_t i) { return some_[i]; };
  const AppId poor = Hungriest(best_effort, [&](AppId app) {
    return apps_[app].without >= kPatience && Narrow(app, ripe);
  });
  if (poor == kNobody || !Narrow(poor, ripe)) return;
  CoreId oldest = kNoCore;
  for (CoreId core = 0; core < cores(); ++core) {
    if (Has(chosen_, core) &&
        (oldest == kNoCore || cores_[core].since < cores_[oldest].since))
      oldest = core;
  }
  Revoke(oldest, poor);
  apps_[poor].wants = false;
}

// ---- Choosing ---------------------------------------------------------------

// Whether `core` is one for `app`, whoever has it now.
bool Allocator::May(AppId app, CoreId core) const {
  if (apps_[app].barred.Contains(core) || cores_[core].home == app)
    return false;
  return !cores_[core].at_home || apps_[app].limits.best_effort;
}

// Leaves in chosen_ those of `from` (by word) that are for `app`, as May() says, and not
// its own. False: there is none.
bool Allocator::Narrow(AppId id, auto&& from) {
  const App& app = apps_[id];
  uint64_t any = 0;
  for (std::size_t i = 0; i < chosen_.size(); ++i) {
    uint64_t word = from(i) & ~app.barred.words()[i] & ~app.home.words()[i] &
                    ~app.owned.words()[i];
    if (!app.limits.best_effort) word &= ~hosted_.words()[i];
    chosen_[i] = word;
    any |= word;
  }
  return any != 0;
}

bool Allocator::Lacks(AppId app) const {
  for (CoreId core = 0; core < cores(); ++core) {
    if (cores_[core].owner != app && cores_[core].home != app &&
        !apps_[app].barred.Contains(core))
      return true;
  }
  return false;
}

// Leaves in chosen_ those of `which`, if that leaves any.
void Allocator::Prefer(auto&& which) {
  uint64_t any = 0;
  for (std::size_t i = 0; i < chosen_.size(); ++i) any |= chosen_[i] & which(i);
  if (any == 0) return;
  for (std::size_t i = 0; i < chosen_.size(); ++i) chosen_[i] &= which(i);
}

// The best core for `app` of those that `from` says; kNoCore: there is none.
CoreId Allocator::Choose(AppId id, auto&& from) {
  if (!Narrow(id, from)) return kNoCore;
  const App& app = apps_[id];
  Prefer([this](std::size_t i) { return ~lent_.words()[i]; });
  Prefer([this](std::size_t i) { return ~kept_.words()[i]; });
  Prefer([&app](std::size_t i) { return app.beside.words()[i]; });
  for (const CoreId core : app.left) {
    if (core == kNoCore) break;
    if (Has(chosen_, core)) return core;
  }
  std::size_t i = 0;
  while (chosen_[i] == 0) ++i;
  return static_cast<CoreId>(64 * i) +
         static_cast<CoreId>(std::countr_zero(chosen_[i]));
}

// One where nobody is: idle, or kept by another, who is told that it is not any more.
bool Allocator::GiveFree(AppId app) {
  if (idle_.size() == 0 && kept_.size() == 0) return false;
  const bool needs = apps_[app].needs;
  const CoreId core = Choose(app, [this, needs](std::size_t i) {
    return idle_.words()[i] | (needs ? kept_.words()[i] : 0);
  });
  if (core == kNoCore) return false;
  if (idle_.Contains(core)) {
    Grant(app, core);
  } else {
    Revoke(core, app);
  }
  return true;
}

// Revokes the best of those that `from` says, for `app`.
bool Allocator::TakeFor(AppId app, auto&& from) {
  const CoreId core =
      Choose(app, [&](std::size_t i) { return from(i) & taken_.words()[i]; });
  if (core == kNoCore) return false;
  Revoke(core, app);
  return true;
}

// Of those who `may` have it.
AppId Allocator::Hungriest(bool best_effort, auto&& may) {
  AppId best = kNobody;
  const auto needs_more = [](const App& one, const App& other) {
    if (one.Burst() != other.Burst()) return one.Burst() < other.Burst();
    return one.without > other.without;
  };
  for (AppId id = 0; id < apps_.size(); ++id) {
    const App& app = apps_[id];
    if (!app.wants || !app.Hungry() || app.limits.best_effort != best_effort)
      continue;
    if ((best == kNobody || needs_more(app, apps_[best])) && may(id)) best = id;
  }
  return best;
}

// Who gets a core that has just been left, and has no heir.
AppId Allocator::Successor(CoreId id) {
  const Core& core = cores_[id];
  const AppId beside =
      core.sibling == kNoCore ? kNobody : cores_[core.sibling].owner;
  for (const AppId app : {core.before, beside, core.left}) {
    if (app != kNobody && apps_[app].Hungry() &&
        !apps_[app].limits.best_effort && May(app, id))
      return app;
  }
  const auto may = [&](AppId app) { return May(app, id); };
  const AppId other = Hungriest(/*best_effort=*/false, may);
  return other != kNobody ? other : Hungriest(/*best_effort=*/true, may);
}

// An idle core goes to who wants one.
void Allocator::HandOn(CoreId core) {
  const AppId next = Successor(core);
  if (next == kNobody) return;
  apps_[next].wants = false;
  Grant(next, core);
}

void Allocator::Bar(AppId app, CoreId core, bool barred) {
  apps_[app].barred.Set(core, barred);
}

bool Allocator::Adopt(AppId id, CoreId core) {
  const App& app = apps_[id];
  if (!app.present || cores_[core].state != CoreState::kIdle ||
      !May(id, core) || app.Future() >= app.most)
    return false;
  Grant(id, core);
  return true;
}

// ---- A core's journey -------------------------------------------------------

void Allocator::Grant(AppId id, CoreId core_id) {
  Core& core = cores_[core_id];
  App& app = apps_[id];
  YAMANOTE_CHECK(core.state == CoreState::kIdle, "a core has one owner");
  core.state = CoreState::kGranted;
  core.owner = id;
  core.since = passes_;
  ++app.held;
  app.owned.Add(core_id);
  SetBeside(id, core_id);
  idle_.Remove(core_id);
  taken_.Add(core_id);
  if (app.limits.best_effort) best_effort_.Add(core_id);
  changes_.push_back(
      {.kind = Change::Kind::kGrant, .app = id, .core = core_id});
}

void Allocator::Revoke(CoreId id, AppId heir) {
  Core& core = cores_[id];
  YAMANOTE_CHECK(
      core.state != CoreState::kIdle && core.state != CoreState::kRevoked,
      "what is revoked is somebody's");
  if (core.state == CoreState::kKept) EndKeeping(id);
  core.state = CoreState::kRevoked;
  core.heir = heir;
  taken_.Remove(id);
  ++apps_[core.owner].leaving;
  if (heir != kNobody) {
    ++apps_[heir].promised;
    apps_[heir].heirs.Add(id);
  }
  changes_.push_back({.kind = Change::Kind::kRevoke,
                      .app = core.owner,
                      .core = id,
                      .heir = heir});
}

void Allocator::Started(AppId app, CoreId id) {
  Core& core = cores_[id];
  if (core.owner != app) return;
  if (core.state == CoreState::kKept) {
    EndKeeping(id);
    taken_.Add(id);
    core.state = CoreState::kRunning;
  } else if (core.state == CoreState::kGranted) {
    core.state = CoreState::kRunning;
  }
}

bool Allocator::Keep(AppId id, CoreId core_id) {
  Core& core = cores_[core_id];
  App& app = apps_[id];
  const bool there =
      core.state == CoreState::kGranted || core.state == CoreState::kRunning;
  // A guest runs beneath: it would come back to where it may not run.
  if (core.owner != id || !there || core.home != kNobody ||
      app.limits.best_effort)
    return false;
  for (AppId other = 0; other < apps_.size(); ++other) {
    if (apps_[other].needs && apps_[other].Hungry() && May(other, core_id))
      return false;
  }
  core.state = CoreState::kKept;
  ++app.kept;
  taken_.Remove(core_id);
  kept_.Add(core_id);
  return true;
}

// It is the owner's as any other then; the caller says in which state.
void Allocator::EndKeeping(CoreId core) {
  --apps_[cores_[core].owner].kept;
  kept_.Remove(core);
}

bool Allocator::Came(AppId app, CoreId id) {
  Core& core = cores_[id];
  if (core.home != app || core.at_home) return false;
  core.at_home = true;
  hosted_.Add(id);
  ++apps_[app].at_home;
  if ((core.state == CoreState::kGranted ||
       core.state == CoreState::kRunning) &&
      !apps_[core.owner].limits.best_effort)
    Revoke(id, kNobody);
  return true;
}

bool Allocator::Released(AppId app, CoreId id) {
  Core& core = cores_[id];
  if (core.home == app && core.at_home) {
    core.at_home = false;
    hosted_.Remove(id);
    --apps_[app].at_home;
    if (core.state == CoreState::kIdle) HandOn(id);
    return true;
  }
  if (core.owner != app) return false;
  App& owner = apps_[app];
  if (core.state == CoreState::kKept) EndKeeping(id);
  --owner.held;
  if (core.state == CoreState::kRevoked) --owner.leaving;
  owner.owned.Remove(id);
  SetBeside(app, id);
  const auto found = std::ranges::find(owner.left, id);
  const auto end = found == owner.left.end() ? found - 1 : found;
  std::move_backward(owner.left.begin(), end, end + 1);
  owner.left.front() = id;
  if (core.left != app) core.before = std::exchange(core.left, app);
  core.owner = kNobody;
  core.state = CoreState::kIdle;
  idle_.Add(id);
  taken_.Remove(id);
  best_effort_.Remove(id);
  const AppId heir = std::exchange(core.heir, kNobody);
  if (heir == kNobody) {
    HandOn(id);
    return true;
  }
  --apps_[heir].promised;
  apps_[heir].heirs.Remove(id);
  Grant(heir, id);
  // It was told that it may come. But the core's own application came first.
  if (core.at_home && !apps_[heir].limits.best_effort) Revoke(id, kNobody);
  return true;
}

}  // namespace yamanote::arbiter
