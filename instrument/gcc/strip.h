// strip.h - the pass that cuts small counted loops into strips.
//
// A probe in each round of a loop of four instructions may double its time. Such a
// loop becomes two: an inner one of at most so many rounds that all together are
// short (short_loops.h), and an outer one around it that the probe is put into.
//
//         do { body; } while (next != bound);
//
//     for (rounds = of the loop as it was;; rounds -= kRounds) {
//       limit = rounds <= kRounds ? bound : start + kRounds * step;
//       do { body; } while (next != limit);      // The same test as before.
//       if (rounds <= kRounds) break;            // Else comes by the probe.
//     }
//
// Runs behind the last pass over GIMPLE: earlier ones would take the two loops for
// the program's own nest, and choose other induction variables for it.
//
// Use it where the exit test at a loop's end compares a counter of constant step with
// what the loop does not change, for equality: what GCC's own passes make of most
// counted loops. Not for loops that end at what they find.

#ifndef YAMANOTE_INSTRUMENT_GCC_STRIP_H_
#define YAMANOTE_INSTRUMENT_GCC_STRIP_H_

#include "instrument/gcc/facts.h"

namespace yamanote::instrument {

// Returns the pass; GCC's pass manager owns it. Requires: runs after MakeGuardPass().
opt_pass* MakeStripPass(gcc::context* context, Unit* unit);

}  // namespace yamanote::instrument

#endif  // YAMANOTE_INSTRUMENT_GCC_STRIP_H_
