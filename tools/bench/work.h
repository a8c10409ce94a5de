// work.h - the loop behind Work() and BareWork(): each is compiled in its own file,
// with probes and without.

#pragma once

#include "tools/bench/trace.h"

namespace yamanote::bench {
namespace {

// A chain of dependent operations that no compiler can shorten (xorshift64,
// Marsaglia, "Xorshift RNGs", 2003).
inline void Grind(const Trace& trace, uint64_t steps) {
  constexpr uint64_t kPerLook = 1024;
  uint64_t state = steps + 1;
  while (steps > 0 && !trace.abandoned()) {
    uint64_t now = steps < kPerLook ? steps : kPerLook;
    steps -= now;
    for (; now > 0; --now) {
      state ^= state << 13;
      state ^= state >> 7;
      state ^= state << 17;
    }
  }
  asm volatile("" : : "r"(state));  // Somebody wants the result.
}

}  // namespace
}  // namespace yamanote::bench
