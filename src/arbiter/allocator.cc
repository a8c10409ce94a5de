// allocator.cc - grants, revocations and who inherits what.

#include "arbiter/allocator.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace yamanote::arbiter {

Allocator::Allocator(std::vector<CoreId> siblings, unsigned most_apps)
    : cores_(siblings.size()),
      apps_(most_apps),
      idle_(static_cast<unsigned>(siblings.size())) {
  YAMANOTE_CHECK(!siblings.empty(), "an allocator needs a core");
  for (CoreId core = 0; core < cores(); ++core)
    cores_[core].sibling = siblings[core];
  for (App& app : apps_) app.left_at.resize(siblings.size());
  // In a pass each application gets one core or loses one, and one is taken for it.
  changes_.reserve(4 * siblings.size() + 4 * most_apps);
}

AppId Allocator::Add(const Limits& limits) {
  YAMANOTE_CHECK(limits.most >= 1 && limits.most >= limits.guaranteed,
                 "an application may have at least a core, and its guarantee");
  if (limits.guaranteed > cores() - guaranteed_) return kNobody;
  for (AppId id = 0; id < apps_.size(); ++id) {
    App& app = apps_[id];
    if (app.present) continue;
    std::vector<uint64_t> left_at = std::move(app.left_at);
    std::ranges::fill(left_at, 0);
    app = App{.present = true, .limits = limits, .left_at = std::move(left_at)};
    guaranteed_ += limits.guaranteed;
    return id;
  }
  return kNobody;
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
    if (app.Future() >= app.limits.guaranteed) return;
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
  const AppId poor = Hungriest(best_effort);
  if (poor == kNobody) return;
  AppId rich = kNobody;
  for (AppId id = 0; id < apps_.size(); ++id) {
    const App& app = apps_[id];
    if (!app.present || app.limits.best_effort != best_effort) continue;
    if (rich == kNobody || app.Burst() > apps_[rich].Burst()) rich = id;
  }
  const unsigned more = apps_[poor].without >= kPatience ? 1 : 2;
  if (apps_[rich].Burst() < apps_[poor].Burst() + more) return;
  if (TakeFor(poor, [rich](AppId owner) { return owner == rich; }))
    apps_[poor].wants = false;
}

// ---- Choosing ---------------------------------------------------------------

bool Allocator::Better(AppId app, CoreId a, CoreId b) const {
  const auto beside = [&](CoreId core) {
    const CoreId sibling = cores_[core].sibling;
    return sibling != kNoCore && cores_[sibling].owner == app;
  };
  if (beside(a) != beside(b)) return beside(a);
  return apps_[app].left_at[a] > apps_[app].left_at[b];
}

// The best core for `app` of those that `allowed` says; kNoCore: there is none.
CoreId Allocator::Choose(AppId app, auto&& allowed) const {
  CoreId best = kNoCore;
  for (CoreId core = 0; core < cores(); ++core) {
    if (!allowed(cores_[core])) continue;
    if (best == kNoCore || Better(app, core, best)) best = core;
  }
  return best;
}

bool Allocator::GiveIdle(AppId app) {
  if (idle_ == 0) return false;
  Grant(app, Choose(app, [](const Core& core) {
          return core.state == CoreState::kIdle;
        }));
  return true;
}

// Revokes the best core of those whose owners `from` says, for `app`.
bool Allocator::TakeFor(AppId app, auto&& from) {
  const CoreId core = Choose(app, [&](const Core& one) {
    return (one.state == CoreState::kGranted ||
            one.state == CoreState::kRunning) &&
           one.owner != app && from(one.owner);
  });
  if (core == kNoCore) return false;
  Revoke(core, app);
  return true;
}

AppId Allocator::Hungriest(bool best_effort) const {
  AppId best = kNobody;
  for (AppId id = 0; id < apps_.size(); ++id) {
    const App& app = apps_[id];
    if (!app.Hungry() || app.limits.best_effort != best_effort) continue;
    const auto need = [this](AppId one) {
      return std::pair(apps_[one].Burst(), kPatience - apps_[one].without);
    };
    if (best == kNobody || need(id) < need(best)) best = id;
  }
  return best;
}

// Who gets a core that has just been left, and has no heir.
AppId Allocator::Successor(const Core& core) const {
  const AppId beside =
      core.sibling == kNoCore ? kNobody : cores_[core.sibling].owner;
  for (const AppId id : {core.before, beside, core.left}) {
    if (id != kNobody && apps_[id].Hungry() && !apps_[id].limits.best_effort)
      return id;
  }
  const AppId other = Hungriest(/*best_effort=*/false);
  return other != kNobody ? other : Hungriest(/*best_effort=*/true);
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

bool Allocator::Released(AppId app, CoreId id) {
  if (cores_[id].owner != app) return false;
  Core& core = cores_[id];
  App& owner = apps_[app];
  --owner.held;
  if (core.state == CoreState::kRevoked) --owner.leaving;
  owner.left_at[id] = ++departures_;
  if (core.left != app) core.before = std::exchange(core.left, app);
  core.owner = kNobody;
  core.state = CoreState::kIdle;
  ++idle_;
  AppId next = std::exchange(core.heir, kNobody);
  if (next != kNobody) {
    --apps_[next].promised;
  } else {
    next = Successor(core);
    if (next == kNobody) return true;
    apps_[next].wants = false;
  }
  Grant(next, id);
  return true;
}

}  // namespace yamanote::arbiter
