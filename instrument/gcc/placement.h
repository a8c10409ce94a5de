// placement.h - decides which basic blocks of a function get a probe.
//
// Two kinds of endless execution must meet a probe: loops, so every way back to
// a loop's head is cut, and recursion, so every way from the entry to a call of
// what is not known to be a leaf is cut. Where there is a choice, the blocks
// that run less often are taken. Knows the control flow graph, and no assembly.

#ifndef YAMANOTE_INSTRUMENT_GCC_PLACEMENT_H_
#define YAMANOTE_INSTRUMENT_GCC_PLACEMENT_H_

#include <vector>

#include "instrument/gcc/facts.h"

namespace yamanote::instrument {

struct Placement {
  // One alternative cut: a probe in each of these blocks.
  using Blocks = std::vector<basic_block>;

  // For each loop the cuts that serve it, the cheapest first.
  std::vector<std::vector<Blocks>> loops;
  // For the calls; empty if they need none, or have them in their loops.
  std::vector<Blocks> entry;
  unsigned short_loops = 0;
  bool has_calls = false;
};

// Places probes in the function that is being compiled. Requires dominators.
Placement PlaceProbes(function* fun, const Unit& unit);

}  // namespace yamanote::instrument

#endif  // YAMANOTE_INSTRUMENT_GCC_PLACEMENT_H_
