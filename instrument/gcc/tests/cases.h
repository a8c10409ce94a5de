// cases.h - the programs whose results probes must not change.

#ifndef YAMANOTE_INSTRUMENT_GCC_TESTS_CASES_H_
#define YAMANOTE_INSTRUMENT_GCC_TESTS_CASES_H_

#include <cstdint>

#include "tools/bench/kernels/kernels.h"

extern "C" {
uint64_t case_exceptions();
uint64_t case_longjmp();
uint64_t case_thread_local();
uint64_t case_errno();
uint64_t case_attribute();
uint64_t case_tail_call();
uint64_t case_varargs();
uint64_t case_int128();
uint64_t case_long_double();
uint64_t case_floats();
uint64_t case_red_zone();
uint64_t case_coroutines();
uint64_t case_switch();
uint64_t case_irreducible();
uint64_t case_computed_goto();
uint64_t case_alloca();
uint64_t case_setjmp();
uint64_t case_cold();
uint64_t case_backtrace();
uint64_t case_nested();
uint64_t case_strips();
uint64_t case_strip_gaps();
}

namespace yamanote::instrument {

struct Case {
  const char* name;
  uint64_t (*run)();
};

inline constexpr Case kCases[] = {
    {"fill", [] { return kernel_fill(3); }},
    {"hash", [] { return kernel_hash(3); }},
    {"chase", [] { return kernel_chase(9); }},
    {"matmul", [] { return kernel_matmul(1); }},
    {"map", [] { return kernel_map(300); }},
    {"json", [] { return kernel_json(2); }},
    {"sort", [] { return kernel_sort(2); }},
    {"fib", [] { return kernel_fib(9); }},
    {"exceptions", case_exceptions},
    {"longjmp", case_longjmp},
    {"thread_local", case_thread_local},
    {"errno", case_errno},
    {"attribute", case_attribute},
    {"tail_call", case_tail_call},
    {"varargs", case_varargs},
    {"int128", case_int128},
    {"long_double", case_long_double},
    {"floats", case_floats},
    {"red_zone", case_red_zone},
    {"coroutines", case_coroutines},
    {"switch", case_switch},
    {"irreducible", case_irreducible},
    {"computed_goto", case_computed_goto},
    {"alloca", case_alloca},
    {"setjmp", case_setjmp},
    {"cold", case_cold},
    {"backtrace", case_backtrace},
    {"nested", case_nested},
    {"strips", case_strips},
    {"strip_gaps", case_strip_gaps},
};

}  // namespace yamanote::instrument

#endif  // YAMANOTE_INSTRUMENT_GCC_TESTS_CASES_H_
