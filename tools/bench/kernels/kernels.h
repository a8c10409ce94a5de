// kernels.h - the ten programs that probes are measured with.
//
// Each does work in proportion to `n` and returns a number that depends on all
// of it. Short tight loops, long ones, calls, templates of the standard library
// and two real libraries: between them they have what makes probes dear.
//
// A build of them is compiled with probes or without. One program can hold
// several builds: layouts.sh gives each a table of its own name, and copies of
// its own of all inline functions. To add a kernel: its file, one line here, one
// in table.cc, one in CMakeLists.txt.

#ifndef YAMANOTE_TOOLS_BENCH_KERNELS_KERNELS_H_
#define YAMANOTE_TOOLS_BENCH_KERNELS_KERNELS_H_

#include <cstddef>
#include <cstdint>

extern "C" {
uint64_t kernel_fill(uint64_t n);
uint64_t kernel_hash(uint64_t n);
uint64_t kernel_chase(uint64_t n);
uint64_t kernel_matmul(uint64_t n);
uint64_t kernel_map(uint64_t n);
uint64_t kernel_json(uint64_t n);
uint64_t kernel_sort(uint64_t n);
uint64_t kernel_fib(uint64_t n);
uint64_t kernel_rapidjson(uint64_t n);
uint64_t kernel_regex(uint64_t n);
}

namespace yamanote::bench {

struct Kernel {
  const char* name;
  uint64_t (*run)(uint64_t n);
  uint64_t n;  // About a millisecond.
};

struct KernelTable {
  const Kernel* kernels;
  size_t count;

  const Kernel* begin() const { return kernels; }
  const Kernel* end() const { return kernels + count; }
};

}  // namespace yamanote::bench

#endif  // YAMANOTE_TOOLS_BENCH_KERNELS_KERNELS_H_
