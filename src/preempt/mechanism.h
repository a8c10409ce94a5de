// mechanism.h - which mechanisms this machine and this program have, and which of
// them is used.

#pragma once

#include <string>

#include "yamanote/mechanism.h"
#include "yamanote/result.h"
#include "yamanote/time.h"

namespace yamanote::preempt {

struct Capability {
  bool available = false;
  std::string why;  // One clause: what it needs and does not find, or has.
};

// Any thread; cheap, but for the first call.
Capability Check(Mechanism mechanism);

// Resolves kAuto. kInvalidArgument: `wanted` is not available here; names what is
// missing and the remedy.
Result<Mechanism> Choose(Mechanism wanted);

// Code of this program is compiled with probes.
bool ProgramHasProbes();

// Median time from a signal's sending to its handler on another core, or on this
// one if the process has no other. Takes about 2 ms; starts and ends a kernel
// thread. Not on a user thread.
Duration MeasureSignal();

}  // namespace yamanote::preempt
