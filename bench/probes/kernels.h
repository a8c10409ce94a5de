// kernels.h - the kernels that probes are measured on, and their list.
//
// A kernel is deterministic: the same `n` gives the same result, however it is
// compiled. One round of each is a few milliseconds at the `n` of run.cc.

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

#endif  // YAMANOTE_BENCH_PROBES_KERNELS_H_
