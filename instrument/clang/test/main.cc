// main.cc - runs the cases, one line of output for each: NAME RESULT.
//
//   main         prints the results; with or without probes they are the same
//   main --hits  prints how often each case came by a probe, too (on stderr)
//
// Compiled without the plug-in, as a library that calls back would be.

#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstring>

#include "instrument/clang/test/stand_in.h"
#include "tools/bench/kernels/kernels.h"

extern "C" {
uint64_t case_exceptions(uint64_t);
uint64_t case_thread_local(uint64_t);
uint64_t case_annotated(uint64_t);
uint64_t case_thread_local_unwound(uint64_t);
uint64_t case_errno(uint64_t);
uint64_t case_varargs(uint64_t);
uint64_t case_wide_numbers(uint64_t);
uint64_t case_floats(uint64_t);
uint64_t case_coroutine(uint64_t);
uint64_t case_virtual_calls(uint64_t);
uint64_t case_backtrace(uint64_t);
uint64_t case_longjmp(uint64_t);
uint64_t case_longjmp_guarded(uint64_t);
uint64_t case_goto(uint64_t);
uint64_t case_alloca(uint64_t);
uint64_t case_switch(uint64_t);
uint64_t case_x87(uint64_t);
uint64_t case_musttail(uint64_t);
uint64_t case_strips(uint64_t);
}

namespace {

struct Case {
  const char* name;
  uint64_t (*run)(uint64_t);
  uint64_t n;
};

constexpr Case kCases[] = {
    {"fill", kernel_fill, 5},
    {"hash", kernel_hash, 10},
    {"chase", kernel_chase, 20},
    {"matmul", kernel_matmul, 1},
    {"map", kernel_map, 1000},
    {"json", kernel_json, 3},
    {"sort", kernel_sort, 2},
    {"fib", kernel_fib, 20},
    {"exceptions", case_exceptions, 50},
    {"thread_local", case_thread_local, 50},
    {"annotated", case_annotated, 50},
    {"unwound", case_thread_local_unwound, 50},
    {"errno", case_errno, 50},
    {"varargs", case_varargs, 50},
    {"wide_numbers", case_wide_numbers, 100},
    {"floats", case_floats, 1000},
    {"coroutine", case_coroutine, 100},
    {"virtual_calls", case_virtual_calls, 100},
    {"backtrace", case_backtrace, 20},
    {"longjmp", case_longjmp, 50},
    {"longjmp_guarded", case_longjmp_guarded, 50},
    {"goto", case_goto, 1000},
    {"alloca", case_alloca, 50},
    {"switch", case_switch, 500},
    {"x87", case_x87, 200},
    {"musttail", case_musttail, 500},
    {"strips", case_strips, 300},
};

}  // namespace

int main(int argc, char** argv) {
  const bool hits = argc > 1 && std::strcmp(argv[1], "--hits") == 0;
  for (const Case& test : kCases) {
    const uint64_t before = g_stand_in.hits;
    stand_in_start();
    const uint64_t result = test.run(test.n);
    stand_in_stop();
    std::printf("%s %" PRIx64 "\n", test.name, result);
    if (hits) {
      std::fprintf(stderr, "%s %" PRIu64 "\n", test.name,
                   g_stand_in.hits - before);
    }
  }
  if (hits) {
    std::fprintf(stderr, "guarded_hits %" PRIu64 "\nwalks %" PRIu64 "\n",
                 g_stand_in.guarded_hits, g_stand_in.walks);
  }
}
