// clock.cc - the clock: time-stamp counter scaled to nanoseconds.
//
// now() = origin + (tsc - tsc_origin) * multiplier / 2^32. The multiplier is
// measured once against CLOCK_MONOTONIC over kCalibration; an error of 20 ns at
// either end is 10 ppm of it. Where the counter may stop or differ between
// cores (no invariant TSC), CLOCK_MONOTONIC is read instead, at 20-30 ns.

#include <ctime>

#include "base/cpu.h"
#include "yamanote/time.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace yamanote {
namespace {

int64_t MonotonicNanos() {
  timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return ts.tv_sec * 1'000'000'000LL + ts.tv_nsec;
}

#if defined(__x86_64__)

__extension__ typedef __int128 Int128;  // ISO C++ has no name for it.

constexpr int64_t kCalibrationNanos = 4'000'000;

struct Calibration {
  uint64_t tsc_origin = 0;
  int64_t nanos_origin = 0;
  // Nanoseconds per tick times 2^32; 0: no usable TSC.
  uint64_t multiplier = 0;
};

bool HasInvariantTsc() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (__get_cpuid(0x80000007, &eax, &ebx, &ecx, &edx) == 0) return false;
  return (edx & (1u << 8)) != 0;
}

// Reads both clocks as close together as this core allows right now.
void ReadTogether(uint64_t& tsc, int64_t& nanos) {
  uint64_t best = UINT64_MAX;
  for (int i = 0; i < 16; ++i) {
    const uint64_t before = __rdtsc();
    const int64_t now = MonotonicNanos();
    const uint64_t after = __rdtsc();
    if (after - before < best) {
      best = after - before;
      tsc = before + (after - before) / 2;
      nanos = now;
    }
  }
}

Calibration Calibrate() {
  Calibration result;
  if (!HasInvariantTsc()) return result;
  uint64_t tsc_end = 0;
  int64_t nanos_end = 0;
  ReadTogether(result.tsc_origin, result.nanos_origin);
  while (MonotonicNanos() - result.nanos_origin < kCalibrationNanos)
    base::Pause();
  ReadTogether(tsc_end, nanos_end);
  const auto nanos = static_cast<Int128>(nanos_end - result.nanos_origin);
  result.multiplier = static_cast<uint64_t>(
      (nanos << 32) / static_cast<Int128>(tsc_end - result.tsc_origin));
  return result;
}

const Calibration& GetCalibration() {
  static const Calibration calibration = Calibrate();
  return calibration;
}

// Read on the hot path without the guard of a function-local static; zero (and
// so the slow path) until start-up has run, which only matters to code that
// reads the clock from another static initialiser.
Calibration g_calibration = GetCalibration();

#endif

}  // namespace

#if defined(__x86_64__)

Clock::time_point Clock::now() noexcept {
  const Calibration& c = g_calibration;
  if (__builtin_expect(c.multiplier == 0, 0))
    return FromNanos(MonotonicNanos());
  // Signed: another core's counter may lag the origin by a few ticks.
  const auto ticks =
      static_cast<Int128>(static_cast<int64_t>(__rdtsc() - c.tsc_origin));
  return FromNanos(
      c.nanos_origin +
      static_cast<int64_t>((ticks * static_cast<Int128>(c.multiplier)) >> 32));
}

#else

Clock::time_point Clock::now() noexcept { return FromNanos(MonotonicNanos()); }

#endif

}  // namespace yamanote
