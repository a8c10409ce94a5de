// kernels.h - the eight programs that probes are measured with.
//
// Each does work in proportion to `n` and returns a number that depends on all
// of it. Short tight loops, long ones, calls and a library's templates: between
// them they have what makes probes dear.

#ifndef YAMANOTE_BENCH_PROBES_KERNELS_H_
#define YAMANOTE_BENCH_PROBES_KERNELS_H_

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
}

namespace yamanote::bench {

struct Kernel {
  const char* name;
  uint64_t (*run)(uint64_t n);
  uint64_t n;  // About ten milliseconds.
};

inline constexpr Kernel kKernels[] = {
    {"fill", kernel_fill, 4000},   {"hash", kernel_hash, 1000},
    {"chase", kernel_chase, 2500}, {"matmul", kernel_matmul, 40},
    {"map", kernel_map, 16000},    {"json", kernel_json, 1000},
    {"sort", kernel_sort, 120},    {"fib", kernel_fib, 4000},
};

}  // namespace yamanote::bench

#endif  // YAMANOTE_BENCH_PROBES_KERNELS_H_
