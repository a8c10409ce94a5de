// run.cc - times the kernels of one build in one layout.
//
//   bench_plain_0 [KERNEL]...      default: all
//
// Prints one line per kernel: its name, the nanoseconds of its fastest run, its
// result. run.py starts the builds in turn and compares.

#include <cinttypes>
#include <cstdio>
#include <string_view>

#include "tools/bench/kernels/fastest.h"
#include "tools/bench/kernels/kernels.h"

// KERNELS is the table to link, see layouts.sh.
extern "C" const yamanote::bench::KernelTable KERNELS;

namespace {

bool Wanted(int count, char** names, std::string_view name) {
  if (count == 0) return true;
  for (int i = 0; i < count; ++i) {
    if (name == names[i]) return true;
  }
  return false;
}

}  // namespace

int main(int argc, char** argv) {
  for (const yamanote::bench::Kernel& kernel : KERNELS) {
    if (!Wanted(argc - 1, argv + 1, kernel.name)) continue;
    const yamanote::bench::Timing timing = yamanote::bench::FastestRun(kernel);
    std::printf("%s %" PRId64 " %" PRIu64 "\n", kernel.name, timing.ns,
                timing.result);
  }
  return 0;
}
