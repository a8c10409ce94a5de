// probe.h - what happens at a probe whose core was asked to give way.
//
//   probe (compiled in) -> yamanote_preempt_probe (probe_x86_64.S): may it give
//   way now? saves the registers -> handler (worker room): does it? switches
//
// The handler runs on the task's own stack as if the task had called it, at any
// instruction where a probe is; that is never within the runtime or a library
// that was not compiled with probes.

#pragma once

#include <cstdint>

#include "preempt/flag.h"

namespace yamanote::preempt {

// Decides and gives way; the kernel thread's flag is set. May return on another
// kernel thread. Must not throw.
using Handler = void (*)();

// Sets what probes call, and finds out how to save this processor's registers.
// Before any flag is raised. nullptr: probes do nothing.
void SetHandler(Handler handler);

// Prepares the calling kernel thread to run tasks that may be preempted: what runs
// beside them has its floating-point modes as they are now. Returns its state.
ThreadState& AdoptThread();

// How vector registers are saved; yamanote_preempt_vectors.
enum class Vectors : uint8_t {
  kFxsave = 0,  // SSE only.
  kInUse = 1,   // XGETBV tells what is in use; AVX and AVX-512.
  kXsave = 2,   // AVX without that.
};
Vectors BestVectors();
// For tests: all ways that this processor can.
void UseVectors(Vectors vectors);

}  // namespace yamanote::preempt
