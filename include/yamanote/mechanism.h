// mechanism.h - what makes a running task give way when its slice is over.

#pragma once

#include <cstdint>
#include <string_view>

namespace yamanote {

enum class Mechanism : uint8_t {
  // The first of user-interrupt, signal and probe that this machine and this
  // program have a use for.
  kAuto,
  // Nothing: a slice ends where the task says so (CheckPreempt(), a yield).
  kNone,
  // A flag that probes in the task's code read (yamanote_preemptible()).
  kProbe,
  // As kProbe; a task that does not answer for long is interrupted by a signal,
  // if it runs code that allows it (YAMANOTE_INTERRUPTIBLE in preempt.h).
  kSignal,
  // As kSignal, by the processor's user interrupts. Untested on hardware.
  kUserInterrupt,
};

// "auto", "none", "probe", "signal", "user-interrupt".
std::string_view ToString(Mechanism mechanism);

}  // namespace yamanote
