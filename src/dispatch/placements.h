// placements.h - the constructors behind MakePlacement(); nobody else's business.

#pragma once

#include <memory>

#include "dispatch/placement.h"

namespace yamanote::dispatch {

// One core, whatever the placement. single.cc.
std::unique_ptr<Placement> MakeSingle(const PolicyInfo& order,
                                      const PolicyOptions& options);

// One domain that every core calls under its lock. central.cc.
std::unique_ptr<Placement> MakeCentral(const PolicyInfo& order,
                                       const PolicyOptions& options,
                                       unsigned cores, Callers callers);

// One domain that core 0 calls; others have `slots` slots. Requires: cores >= 2,
// slots 1 .. kMaxSlots. dedicated.cc.
std::unique_ptr<Placement> MakeDedicated(const PolicyInfo& order,
                                         const PolicyOptions& options,
                                         unsigned slots, unsigned cores,
                                         Callers callers);

// Who may take from another core's domain, and from which.
enum class Stealing : uint8_t { kNone, kRandom, kLongest };

// A domain for each core. `kind` is not kCentral. Requires: cores >= 2.
// per_core.cc.
std::unique_ptr<Placement> MakePerCore(const PolicyInfo& order,
                                       const PolicyOptions& options,
                                       PlacementKind kind, Stealing stealing,
                                       unsigned cores, Callers callers,
                                       Supply supply);

}  // namespace yamanote::dispatch
