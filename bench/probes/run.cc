// run.cc - times the kernels of one build.
//
//   bench_probes [KERNEL]...      default: all
//
// Prints one line per kernel: its name, the nanoseconds of the fastest of five
// short runs, its result. run.py starts the builds in turn and compares.

#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <cstring>

#include "bench/probes/kernels.h"

namespace {

bool Wanted(int count, char** names, const char* name) {
  if (count == 0) return true;
  for (int i = 0; i < count; ++i) {
    if (std::strcmp(names[i], name) == 0) return true;
  }
  return false;
}

}  // namespace

int main(int argc, char** argv) {
  using Clock = std::chrono::steady_clock;
  for (const yamanote::bench::Kernel& kernel : yamanote::bench::kKernels) {
    if (!Wanted(argc - 1, argv + 1, kernel.name)) continue;
    int64_t best = INT64_MAX;
    uint64_t result = 0;
    for (int i = 0; i < 5; ++i) {
      const auto start = Clock::now();
      result = kernel.run(kernel.n);
      const auto took = std::chrono::duration_cast<std::chrono::nanoseconds>(
          Clock::now() - start);
      if (took.count() < best) best = took.count();
    }
    std::printf("%s %" PRId64 " %" PRIu64 "\n", kernel.name, best, result);
  }
  return 0;
}
