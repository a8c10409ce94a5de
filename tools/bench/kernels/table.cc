// table.cc - the table of one build's kernels; what layouts.sh lets others see.

#include <iterator>

#include "tools/bench/kernels/kernels.h"

namespace yamanote::bench {
namespace {

constexpr Kernel kKernels[] = {
    {"fill", kernel_fill, 800},          {"hash", kernel_hash, 200},
    {"chase", kernel_chase, 250},        {"matmul", kernel_matmul, 8},
    {"map", kernel_map, 1400},           {"json", kernel_json, 160},
    {"sort", kernel_sort, 12},           {"fib", kernel_fib, 800},
    {"rapidjson", kernel_rapidjson, 80}, {"regex", kernel_regex, 400},
};

}  // namespace

extern "C" {
extern const KernelTable yamanote_kernels;
constinit const KernelTable yamanote_kernels = {kKernels, std::size(kKernels)};
}

}  // namespace yamanote::bench
