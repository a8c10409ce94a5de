// placement.cc - chooses the placement that a configuration asks for.

#include "dispatch/placement.h"

#include "base/check.h"
#include "dispatch/placements.h"

namespace yamanote::dispatch {

std::unique_ptr<Placement> MakePlacement(
    const Scheduling& scheduling, unsigned cores, Callers callers,
    Supply supply, std::span<const CoreLocality> locality) {
  const PolicyInfo* const order = FindPolicy(scheduling.order);
  YAMANOTE_CHECK(order != nullptr,
                 "MakePlacement() requires Validate(): unknown order");
  return MakePlacement(*order, scheduling, cores, callers, supply, locality);
}

std::unique_ptr<Placement> MakePlacement(
    const PolicyInfo& order, const Scheduling& scheduling, unsigned cores,
    Callers callers, Supply supply, std::span<const CoreLocality> locality) {
  YAMANOTE_CHECK(cores >= 1, "MakePlacement() requires a core");
  PolicyOptions options{.slice = scheduling.slice.least,
                        .rejoin = scheduling.rejoin,
                        .cores = 1,
                        .classes = scheduling.classes,
                        .locality = {locality.begin(), locality.end()}};
  if (supply == Supply::kArbiter) {
    YAMANOTE_CHECK(ForArbiter(scheduling, cores),
                   "MakePlacement() requires ForArbiter()");
    // What comes in while the core is away must show.
    if (cores == 1) return MakeCentral(order, options, cores, callers);
  }
  if (cores == 1) return MakeSingle(order, options);
  switch (scheduling.placement) {
    case PlacementKind::kCentral: {
      options.cores = cores;
      if (HasDedicatedDispatcher(scheduling, cores)) {
        // The dispatcher lends a hand only when all workers are full.
        options.cores = cores - 1;
        options.first_core = 1;
        return MakeDedicated(order, options, scheduling.slots, cores, callers);
      }
      return MakeCentral(order, options, cores, callers);
    }
    case PlacementKind::kPartitioned:
      return MakePerCore(order, options, PlacementKind::kPartitioned,
                         Stealing::kNone, cores, callers, supply);
    case PlacementKind::kStealing:
      return MakePerCore(order, options, PlacementKind::kStealing,
                         Stealing::kRandom, cores, callers, supply);
    case PlacementKind::kTwoLevel:
      return MakePerCore(
          order, options, PlacementKind::kTwoLevel,
          scheduling.steal ? Stealing::kLongest : Stealing::kNone, cores,
          callers, supply);
  }
  YAMANOTE_CHECK(false, "a placement that is none");
  return nullptr;
}

}  // namespace yamanote::dispatch
