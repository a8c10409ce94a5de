// oracle.h - orders that no scheduler can have, to be compared with.
//
//   ps    Processor sharing: all requests run at once, each at an equal share of the
//         cores and at one core's speed at most. What round robin tends to as its slice
//         and its costs tend to nothing.
//   srpt  Shortest remaining processing time: the cores always run those that will end
//         first. On one core no order has a lower mean sojourn.
//
// They know what the requests will need, serve any number of cores from one queue, and
// nothing costs anything. There is no policy object behind them, for the policy
// interface does not tell sizes.
//
// Sources: Kleinrock, "Time-shared Systems: A Theoretical Treatment", JACM 14(2), 1967
// (processor sharing); Schrage, "A Proof of the Optimality of the Shortest Remaining
// Processing Time Discipline", Operations Research 16(3), 1968.

#pragma once

#include <optional>
#include <string_view>

#include "sim/source.h"

namespace yamanote::sim {

enum class Oracle : uint8_t { kPs, kSrpt };

// The one called `name`, if there is one.
std::optional<Oracle> FindOracle(std::string_view name);
std::string_view ToString(Oracle oracle);

// Runs until the source has no more and everything is answered. O(log n) for each
// request, n in the system. Requires: cores >= 1.
void RunOracle(Oracle oracle, unsigned cores, Source& source,
               Observer& observer);

}  // namespace yamanote::sim
