// short_loops.h - the pass that finds loops too short to need a probe.
//
// Runs after loops are unrolled and before what is known of them is dropped. A
// later pass may change the loop; so what it notes is the jump back, and a jump
// that is gone or copied makes the loop an ordinary one, with a probe.

#ifndef YAMANOTE_INSTRUMENT_GCC_SHORT_LOOPS_H_
#define YAMANOTE_INSTRUMENT_GCC_SHORT_LOOPS_H_

#include "instrument/gcc/facts.h"

namespace yamanote::instrument {

// Returns the pass; GCC's pass manager owns it.
opt_pass* MakeShortLoopsPass(gcc::context* context, Unit* unit);

}  // namespace yamanote::instrument

#endif  // YAMANOTE_INSTRUMENT_GCC_SHORT_LOOPS_H_
