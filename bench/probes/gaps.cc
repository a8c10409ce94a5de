// gaps.cc - how long the kernels run from one probe to the next.
//
//   bench_probe_gaps [KERNEL]...
//
// Linked with the instrumented kernels and gaps_probe.S; the flag stays set, so
// every probe is met. What the meeting itself takes is measured first and taken
// off. Prints nanoseconds per kernel: median, p99, p99.9, the largest.

#include <x86intrin.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

#include "bench/probes/kernels.h"

extern "C" {
thread_local unsigned char yamanote_preempt_flag;
thread_local uintptr_t yamanote_preempt_guard;
uint64_t gap_last;
uint32_t gap_next;
uint32_t gap_ticks[1 << 22];
}

namespace {

constexpr uint32_t kGaps = 1 << 22;

double TicksPerNanosecond() {
  const auto start = std::chrono::steady_clock::now();
  const uint64_t ticks = __rdtsc();
  while (std::chrono::steady_clock::now() - start <
         std::chrono::milliseconds(50)) {
  }
  return static_cast<double>(__rdtsc() - ticks) / 5e7;
}

}  // namespace

int main(int argc, char** argv) {
  const double per_ns = TicksPerNanosecond();
  for (const yamanote::bench::Kernel& kernel : yamanote::bench::kKernels) {
    if (argc > 1 && std::strcmp(argv[1], kernel.name) != 0) continue;
    gap_next = 0;
    gap_last = __rdtsc();
    yamanote_preempt_flag = 1;
    kernel.run(1 + kernel.n / 100);
    yamanote_preempt_flag = 0;
    // The first gap begins before the kernel.
    const uint32_t count = std::min(gap_next, kGaps);
    std::vector<uint32_t> gaps(gap_ticks + 1, gap_ticks + count);
    std::sort(gaps.begin(), gaps.end());
    if (gaps.empty()) continue;
    // The shortest gap is that of two probes with next to nothing between.
    const uint32_t own = gaps.front();
    const auto at = [&](double share) {
      const auto index =
          static_cast<size_t>(share * static_cast<double>(gaps.size() - 1));
      return static_cast<double>(gaps[index] - own) / per_ns;
    };
    std::printf(
        "%-8s %8zu gaps  p50 %6.0f  p99 %6.0f  p99.9 %6.0f  max %8.0f\n",
        kernel.name, gaps.size(), at(0.5), at(0.99), at(0.999), at(1));
  }
  return 0;
}
