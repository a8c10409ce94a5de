// allocator.cc - grants, revocations and who inherits what.

#include "arbiter/allocator.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace yamanote::arbiter {

Allocator::Allocator(std::vector<CoreId> siblings, unsigned most_apps,
                     Homes homes)
    : homes_(homes),
      cores_(siblings.size()),
      apps_(most_apps),
      idle_(static_cast<unsigned>(siblings.size())) {
  YAMANOTE_CHECK(!siblings.empty(), "an allocator needs a core");
  for (CoreId core = 0; core < cores(); ++core)
    cores_[core].sibling = siblings[core];
  for (App& app : apps_) {
    app.left_at.resize(siblings.size());
    app.barred.resize(siblings.size());
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
    std::vector<uint64_t> left_at = std::move(app.left_at);
    std::ranges::fill(left_at, 0);
    std::vector<bool> barred = std::move(app.barred);
    std::fill(barred.begin(), barred.end(), false);
    const bool at_home = homes_ == Homes::kAssigned;
    app = App{.present = true,
              .limits = limits,
              .due = at_home ? 0 : limits.guaranteed,
              .most = limits.most - (at_home ? limits.guaranteed : 0),
              .homes = at_home ? limits.guaranteed : 0,
              .left_at = std::move(left_at),
              .barred = std::move(barred)};
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
  }
}

void Allocator::Remove(AppId app) {
  YAMANOTE_CHECK(apps_[app].present, "it is removed once");
  apps_[app].present = false;
  guaranteed_ -= apps_[app].limits.guaranteed;
  for (CoreId core = 0; core < cores(); ++core) {
    if (cores_[core].heir == app) {
      --apps_[app].promised;
      cores_[core].heir = kNobody;
    }
    if (cores_[core].owner == app) Released(app, core);
    if (cores_[core].home == app) {
      cores_[core].home = kNobody;
      cores_[core].at_home = false;
      // Nobody wants it who might have had it before, but those who might now.
      if (cores_[core].state == CoreState::kIdle) HandOn(core);
    }
    // The next to have its number is somebody else.
    if (cores_[core].left == app) cores_[core].left = kNobody;
    if (cores_[core].before == app) cores_[core].before = kNobody;
  }
}

// ---- A pass -----------------------------------------------------------------

void Allocator::Want(AppId id, Wish wish, CoreId spare) {
  App& app = apps_[id];
  app.wants = wish == Wish::kMore;
  if (wish != Wish::kFewer || spare == kNoCore) return;
  const Core& core = cores_[spare];
  if (core.owner == id && core.state == CoreState::kRunning)
    Revoke(spare, kNobody);
}

void Allocator::Settle() {
  const auto count = static_cast<AppId>(apps_.size());
  const auto for_all = [&](auto&& work) {
    for (AppId i = 0; i < count; ++i) {
      const AppId id = (first_ + i) % count;
      if (apps_[id].Hungry()) work(id);
    }
  };
  const auto has_burst = [this](AppId owner) {
    return apps_[owner].Burst() > 0;
  };
  const auto best_effort = [this](AppId owner) {
    return apps_[owner].limits.best_effort;
  };
  for_all([&](AppId id) {
    App& app = apps_[id];
    if (app.Future() >= app.due) return;
    if (GiveIdle(id) || TakeFor(id, best_effort) || TakeFor(id, has_burst))
      app.wants = false;
  });
  for_all([&](AppId id) {
    if (apps_[id].limits.best_effort) return;
    if (GiveIdle(id) || TakeFor(id, best_effort)) apps_[id].wants = false;
  });
  Share(/*best_effort=*/false);
  for_all([&](AppId id) {
    if (GiveIdle(id)) apps_[id].wants = false;
  });
  Share(/*best_effort=*/true);
  first_ = (first_ + 1) % count;
  for (App& app : apps_)
    app.without = app.Hungry() && app.Future() == 0
                      ? std::min(app.without + 1, kPatience)
                      : 0;
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
  const auto is_rich = [rich](AppId owner) { return owner == rich; };
  // Who is barred from all of them must not keep others from their turn.
  const AppId poor = Hungriest(best_effort, [&](AppId app) {
    return ChooseFrom(app, is_rich) != kNoCore;
  });
  if (poor == kNobody) return;
  const unsigned more = apps_[poor].without >= kPatience ? 1 : 2;
  if (apps_[rich].Burst() < apps_[poor].Burst() + more) return;
  if (TakeFor(poor, is_rich)) apps_[poor].wants = false;
}

// ---- Choosing ---------------------------------------------------------------

// Whether `core` is one for `app`, whoever has it now.
bool Allocator::May(AppId app, CoreId id) const {
  const Core& core = cores_[id];
  if (apps_[app].barred[id] || core.home == app) return false;
  return !core.at_home || apps_[app].limits.best_effort;
}

bool Allocator::Better(AppId app, CoreId a, CoreId b) const {
  const auto lent = [&](CoreId core) { return cores_[core].home != kNobody; };
  if (lent(a) != lent(b)) return lent(b);
  const auto beside = [&](CoreId core) {
    const CoreId sibling = cores_[core].sibling;
    return sibling != kNoCore &&
           (cores_[sibling].owner == app || cores_[sibling].home == app);
  };
  if (beside(a) != beside(b)) return beside(a);
  return apps_[app].left_at[a] > apps_[app].left_at[b];
}

// The best core for `app` of those that `allowed` says; kNoCore: there is none.
CoreId Allocator::Choose(AppId app, auto&& allowed) const {
  CoreId best = kNoCore;
  for (CoreId core = 0; core < cores(); ++core) {
    if (!allowed(cores_[core]) || !May(app, core)) continue;
    if (best == kNoCore || Better(app, core, best)) best = core;
  }
  return best;
}

bool Allocator::GiveIdle(AppId app) {
  if (idle_ == 0) return false;
  const CoreId core = Choose(
      app, [](const Core& one) { return one.state == CoreState::kIdle; });
  if (core == kNoCore) return false;
  Grant(app, core);
  return true;
}

// The best core of those whose owners `from` says, that is not revoked yet.
CoreId Allocator::ChooseFrom(AppId app, auto&& from) const {
  return Choose(app, [&](const Core& one) {
    return (one.state == CoreState::kGranted ||
            one.state == CoreState::kRunning) &&
           one.owner != app && from(one.owner);
  });
}

// Revokes it, for `app`.
bool Allocator::TakeFor(AppId app, auto&& from) {
  const CoreId core = ChooseFrom(app, from);
  if (core == kNoCore) return false;
  Revoke(core, app);
  return true;
}

// Of those who `may` have it.
AppId Allocator::Hungriest(bool best_effort, auto&& may) const {
  AppId best = kNobody;
  for (AppId id = 0; id < apps_.size(); ++id) {
    const App& app = apps_[id];
    if (!app.Hungry() || app.limits.best_effort != best_effort) continue;
    const auto need = [this](AppId one) {
      return std::pair(apps_[one].Burst(), kPatience - apps_[one].without);
    };
    if ((best == kNobody || need(id) < need(best)) && may(id)) best = id;
  }
  return best;
}

// Who gets a core that has just been left, and has no heir.
AppId Allocator::Successor(CoreId id) const {
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
  apps_[app].barred[core] = barred;
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

void Allocator::Grant(AppId app, CoreId id) {
  Core& core = cores_[id];
  YAMANOTE_CHECK(core.state == CoreState::kIdle, "a core has one owner");
  core.state = CoreState::kGranted;
  core.owner = app;
  ++apps_[app].held;
  --idle_;
  changes_.push_back({.kind = Change::Kind::kGrant, .app = app, .core = id});
}

void Allocator::Revoke(CoreId id, AppId heir) {
  Core& core = cores_[id];
  core.state = CoreState::kRevoked;
  core.heir = heir;
  ++apps_[core.owner].leaving;
  if (heir != kNobody) ++apps_[heir].promised;
  changes_.push_back({.kind = Change::Kind::kRevoke,
                      .app = core.owner,
                      .core = id,
                      .heir = heir});
}

void Allocator::Started(AppId app, CoreId id) {
  Core& core = cores_[id];
  if (core.owner == app && core.state == CoreState::kGranted)
    core.state = CoreState::kRunning;
}

bool Allocator::Came(AppId app, CoreId id) {
  Core& core = cores_[id];
  if (core.home != app || core.at_home) return false;
  core.at_home = true;
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
    --apps_[app].at_home;
    if (core.state == CoreState::kIdle) HandOn(id);
    return true;
  }
  if (core.owner != app) return false;
  App& owner = apps_[app];
  --owner.held;
  if (core.state == CoreState::kRevoked) --owner.leaving;
  owner.left_at[id] = ++departures_;
  if (core.left != app) core.before = std::exchange(core.left, app);
  core.owner = kNobody;
  core.state = CoreState::kIdle;
  ++idle_;
  const AppId heir = std::exchange(core.heir, kNobody);
  if (heir == kNobody) {
    HandOn(id);
    return true;
  }
  --apps_[heir].promised;
  Grant(heir, id);
  // It was told that it may come. But the core's own application came first.
  if (core.at_home && !apps_[heir].limits.best_effort) Revoke(id, kNobody);
  return true;
}

}  // namespace yamanote::arbiter
