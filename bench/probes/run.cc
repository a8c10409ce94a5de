// run.cc - times the kernels; build it once with probes and once without.
//
//   run [ROUNDS]     default 5
//
// Prints one line per kernel: NAME RESULT NANOSECONDS, the processor time of the
// quickest round: what disturbs a round only ever makes it longer. Compare two builds by running
// them in turn. The definitions below are enough for a program with probes: the
// flag is never set, so nothing gives way.

#include <time.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "bench/probes/kernels.h"

extern "C" {
__attribute__((weak)) thread_local unsigned char yamanote_preempt_flag = 0;
__attribute__((weak)) thread_local uintptr_t yamanote_preempt_guard = 0;
__attribute__((weak)) void yamanote_preempt_probe() { std::abort(); }
}

namespace {

struct Kernel {
  const char* name;
  uint64_t (*run)(uint64_t);
  uint64_t n;
};

constexpr Kernel kKernels[] = {
    {"fill", kernel_fill, 30000},     {"hash", kernel_hash, 1500},
    {"chase", kernel_chase, 5000000}, {"matmul", kernel_matmul, 250},
    {"map", kernel_map, 500000},      {"json", kernel_json, 120},
    {"sort", kernel_sort, 200000},    {"fib", kernel_fib, 31},
};

int64_t ThreadNanoseconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return now.tv_sec * int64_t{1000000000} + now.tv_nsec;
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 5;
  for (const Kernel& kernel : kKernels) {
    int64_t least = INT64_MAX;
    uint64_t result = 0;
    for (int round = 0; round < rounds; ++round) {
      const int64_t start = ThreadNanoseconds();
      result = kernel.run(kernel.n);
      least = std::min(least, ThreadNanoseconds() - start);
    }
    std::printf("%-8s %016lx %9ld\n", kernel.name,
                static_cast<unsigned long>(result), static_cast<long>(least));
  }
}
