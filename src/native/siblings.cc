// siblings.cc - whose turn it is on a physical core.

#include "native/siblings.h"

#include <algorithm>
#include <map>

#include "base/check.h"

namespace yamanote::native {

Siblings::Siblings(std::span<const uint32_t> group_of) {
  std::map<uint32_t, uint32_t> index;
  for (CoreId core = 0; core < group_of.size(); ++core) {
    const auto [found, fresh] = index.try_emplace(
        group_of[core], static_cast<uint32_t>(groups_.size()));
    if (fresh) groups_.emplace_back();
    group_of_.push_back(found->second);
    groups_[found->second].cores.push_back(core);
  }
}

bool Siblings::Admits(CoreId core, TrustDomain domain) const {
  const Group& group = Of(core);
  if (group.cores.size() == 1) return true;
  if (group.vacating || group.mixed) return false;
  if (group.there > 0) return group.domain == domain;
  return !group.reserved || *group.reserved == domain;
}

void Siblings::Enter(CoreId core, TrustDomain domain) {
  Group& group = Of(core);
  if (group.cores.size() == 1) return;
  if (group.there++ == 0) {
    group.domain = domain;
    group.reserved.reset();
    group.turn_end = kNever;
  } else if (group.domain != domain) {
    group.mixed = true;
  }
}

void Siblings::Leave(CoreId core) {
  Group& group = Of(core);
  if (group.cores.size() == 1) return;
  YAMANOTE_CHECK(group.there > 0, "only who is there leaves");
  if (--group.there > 0) return;
  group.mixed = false;
  group.vacating = false;
}

void Siblings::SetTurnEnd(CoreId core, Instant end) {
  Group& group = Of(core);
  if (group.there > 0 && group.turn_end == kNever) group.turn_end = end;
}

bool Siblings::MayRunIn(const Group& group, const Waiting& waiting) {
  return std::ranges::any_of(group.cores, waiting.may_run);
}

void Siblings::Vacate(Group& group, const std::function<void(CoreId)>& vacate) {
  group.vacating = true;
  for (const CoreId core : group.cores) vacate(core);
}

// The one whose turn has been over for longest.
Siblings::Group* Siblings::FindOver(const Waiting& waiting, Instant now,
                                    Instant& next) {
  Group* found = nullptr;
  for (Group& group : groups_) {
    if (group.there == 0 || group.vacating || group.domain == waiting.domain ||
        !MayRunIn(group, waiting))
      continue;
    if (group.turn_end > now) {
      next = std::min(next, group.turn_end);
    } else if (found == nullptr || group.turn_end < found->turn_end) {
      found = &group;
    }
  }
  return found;
}

Instant Siblings::EndTurns(std::span<const Waiting> waiting, Instant now,
                           const std::function<void(CoreId)>& vacate) {
  // How many more there is room for in the groups that are on the way to their domains.
  std::vector<std::size_t> room(groups_.size());
  for (std::size_t i = 0; i < groups_.size(); ++i)
    if (groups_[i].reserved) room[i] = groups_[i].cores.size();
  Instant next = kNever;
  for (const Waiting& one : waiting) {
    bool served = false;
    for (std::size_t i = 0; i < groups_.size() && !served; ++i) {
      served = room[i] > 0 && *groups_[i].reserved == one.domain &&
               MayRunIn(groups_[i], one);
      if (served) --room[i];
    }
    if (served) continue;
    Group* const group = FindOver(one, now, next);
    if (group == nullptr) continue;
    group->reserved = one.domain;
    room[static_cast<std::size_t>(group - groups_.data())] =
        group->cores.size() - 1;
    Vacate(*group, vacate);
  }
  return next;
}

void Siblings::EndMixtures(const std::function<void(CoreId)>& vacate) {
  for (Group& group : groups_)
    if (group.mixed && !group.vacating) Vacate(group, vacate);
}

bool Siblings::EndReservations() {
  bool any = false;
  for (Group& group : groups_) {
    if (group.there > 0 || !group.reserved) continue;
    group.reserved.reset();
    any = true;
  }
  return any;
}

}  // namespace yamanote::native
