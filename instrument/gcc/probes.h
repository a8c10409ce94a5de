// probes.h - the pass that inserts the probes.
//
// Runs when registers are given out, code is scheduled and blocks are in their
// final order: a probe needs nothing but that the flags are free, so nothing
// that the compiler did before has to make room for it. An earlier pass would
// cost more than the probes themselves: see docs/probes.md.

#ifndef YAMANOTE_INSTRUMENT_GCC_PROBES_H_
#define YAMANOTE_INSTRUMENT_GCC_PROBES_H_

#include "instrument/gcc/facts.h"

namespace yamanote::instrument {

// Returns the pass; GCC's pass manager owns it.
opt_pass* MakeProbesPass(gcc::context* context, Unit* unit);

}  // namespace yamanote::instrument

#endif  // YAMANOTE_INSTRUMENT_GCC_PROBES_H_
