// guard.h - the pass that finds functions which must not be preempted.
//
// Runs last of the passes over GIMPLE, when inlining has shown which function
// really touches a thread_local. What such a function does on entry and before
// it returns is in docs/probes.md.

#ifndef YAMANOTE_INSTRUMENT_GCC_GUARD_H_
#define YAMANOTE_INSTRUMENT_GCC_GUARD_H_

#include "instrument/gcc/facts.h"

namespace yamanote::instrument {

// Returns the pass; GCC's pass manager owns it.
opt_pass* MakeGuardPass(gcc::context* context, Unit* unit);

// Makes the attribute yamanote_no_preempt known: an event's callback.
void RegisterAttribute(void* event_data, void* user_data);

// Keeps the pass's declarations from the compiler's garbage collector.
void RegisterRoots(const char* plugin_name);

}  // namespace yamanote::instrument

#endif  // YAMANOTE_INSTRUMENT_GCC_GUARD_H_
