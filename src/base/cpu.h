// cpu.h - what differs between processors in one line each: pause, cache line.

#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace yamanote::base {

// Bytes that two cores must not write side by side. Two cache lines, because
// x86 prefetches lines in pairs.
inline constexpr size_t kCacheLine = 64;
inline constexpr size_t kNoSharing = 128;

// Tells the processor that the caller spins.
inline void Pause() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("isb" ::: "memory");
#endif
}

}  // namespace yamanote::base
