// placement.h - decides which basic blocks of a function get a probe.
//
// Two kinds of endless execution must meet a probe: loops, so every way back to
// a loop's head is cut, and recursion, so every way from the entry to a call of
// what is not known to be a leaf is cut. Where there is a choice, the blocks
// that run less often are taken. What gives a lock back counts as a probe, for it
// has one of its own (IsUnlock()). Knows the control flow graph, and no assembly.

#ifndef YAMANOTE_INSTRUMENT_GCC_PLACEMENT_H_
#define YAMANOTE_INSTRUMENT_GCC_PLACEMENT_H_

#include <functional>
#include <vector>

#include "instrument/gcc/facts.h"

namespace yamanote::instrument {

struct Placement {
  using Blocks = std::vector<basic_block>;

  Blocks loops;  // Blocks that cut the loops.
  Blocks entry;  // Blocks that cut the ways to calls and not loops.
  unsigned short_loops = 0;
  unsigned uncut_loops = 0;  // Have no block with a place for a probe.
  bool has_calls = false;
  bool calls_itself = false;
};

// Places probes in the function that is being compiled. `has_place` says
// whether a block has a place for one. Requires dominators.
Placement PlaceProbes(function* fun, const Unit& unit,
                      const std::function<bool(basic_block)>& has_place);

}  // namespace yamanote::instrument

#endif  // YAMANOTE_INSTRUMENT_GCC_PLACEMENT_H_
