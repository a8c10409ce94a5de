// siblings.h - which trust domain has which physical core.
//
// Threads of two trust domains never run on siblings, the hardware threads of one core, at
// a time: what one leaves in the caches and ports of the core the other could read. The
// unit is the *group*, the siblings of a core. It knows who is *there*: threads that run on
// its cores, are about to, or have left, where the message is not read yet. So what it says
// errs on the safe side only, whatever comes late.
//
//   free -> Enter(): a domain's turn -> [EndTurns(): vacating] -> the last Leave() -> free
//
// - A free group is given to the domain of the thread that the order picks next.
// - While anybody is there, the group admits that domain alone. A sibling for which it has
//   nothing idles: forced idle.
// - The turn is over with the slice of the thread that began it; where there are no slices,
//   after kDomainTurn. From then on the first thread that waits for the group in vain ends
//   it: all who are there are preempted, and when the last has left the group is *reserved*
//   for that thread's domain. Nobody waits in vain: the domain goes on.
//
// A group of one core admits everybody.
//
// Not thread-safe: a global agent has it.
//
// Source: Humphries et al., "ghOSt", SOSP 2021, section 4.5 (siblings always in one trust
// domain); the rule for turns is ours (docs/adr/0033-trust-domains.md).

#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "yamanote/task.h"
#include "yamanote/time.h"

namespace yamanote::native {

using TrustDomain = uint64_t;

// How long a domain has a group at least where there are no slices.
inline constexpr Duration kDomainTurn = std::chrono::milliseconds(10);

class Siblings {
 public:
  // By core: a number that siblings share.
  explicit Siblings(std::span<const uint32_t> group_of);

  // True if a thread of `domain` may be committed to `core` now.
  bool Admits(CoreId core, TrustDomain domain) const;
  // Nobody is admitted until all have left.
  bool Vacating(CoreId core) const { return Of(core).vacating; }
  // The group is free, and kept for one domain.
  bool Reserved(CoreId core) const {
    return Of(core).there == 0 && Of(core).reserved.has_value();
  }
  // The domain there gives way if another one's thread waits for it.
  bool TurnOver(CoreId core, Instant now) const {
    return Of(core).there > 0 && Of(core).turn_end <= now;
  }

  // A thread is to be committed to `core`, or was found there; it has left, or was not
  // committed.
  void Enter(CoreId core, TrustDomain domain);
  void Leave(CoreId core);

  // If the turn of the domain there has no end yet, that is `end`.
  void SetTurnEnd(CoreId core, Instant end);

  // A thread that waits for a core; where it may run now.
  struct Waiting {
    TrustDomain domain;
    std::function<bool(CoreId)> may_run;
  };
  // Ends turns that are over for those in `waiting`, first come first served, one turn for
  // as many as there are siblings. Calls `vacate` for each core that must be vacated.
  // Returns when to call it again; kNever: when something has happened.
  Instant EndTurns(std::span<const Waiting> waiting, Instant now,
                   const std::function<void(CoreId)>& vacate);

  // Groups in which threads of several domains were found are vacated.
  void EndMixtures(const std::function<void(CoreId)>& vacate);

  // Groups that are reserved and still free admit everybody. Returns whether there were any.
  bool EndReservations();

 private:
  struct Group {
    std::vector<CoreId> cores;
    unsigned there = 0;
    TrustDomain domain = 0;  // Of those who are there.
    bool mixed = false;      // Not of all.
    bool vacating = false;
    std::optional<TrustDomain> reserved;
    Instant turn_end = kNever;  // kNever: not known yet.
  };

  Group& Of(CoreId core) { return groups_[group_of_[core]]; }
  const Group& Of(CoreId core) const { return groups_[group_of_[core]]; }
  // Those who get the group at last. nullptr: none is so far.
  Group* FindOver(const Waiting& waiting, Instant now, Instant& next);
  static bool MayRunIn(const Group& group, const Waiting& waiting);
  static void Vacate(Group& group, const std::function<void(CoreId)>& vacate);

  std::vector<Group> groups_;
  std::vector<uint32_t> group_of_;  // By core: its index in groups_.
};

}  // namespace yamanote::native
