// shapes.cc - small functions, and how many probes each must get at -O2.
//
// probes_test.sh takes "EXPECT: " lines for the plug-in's report, word by word.
// The assembly keeps the optimiser from unrolling or removing the loops.

#include <cxxabi.h>
#include <pthread.h>

#include <cerrno>
#include <cstdint>
#include <cstdlib>

using abi::__cxa_get_globals_fast;

#define KEEP(x) asm volatile("" : "+r"(x))

extern "C" {

uint64_t outside(uint64_t);
int* outside_location();

// EXPECT: leaf: entry 0, loops 0
uint64_t leaf(uint64_t n) { return n * 3; }

// EXPECT: calls_outside: entry 1, loops 0
[[gnu::noinline]] uint64_t calls_outside(uint64_t n) { return outside(n) + 1; }

// EXPECT: kept_leaf: entry 0, loops 0
[[gnu::noinline]] uint64_t kept_leaf(uint64_t n) {
  KEEP(n);
  return n * 3;
}

// EXPECT: calls_leaf: entry 0, loops 0
uint64_t calls_leaf(uint64_t n) { return kept_leaf(n) + 1; }

// EXPECT: calls_library: entry 0, loops 0
void* calls_library(uint64_t n) { return std::malloc(n + 1); }

// EXPECT: calls_pointer: entry 1, loops 0
uint64_t calls_pointer(uint64_t (*f)(uint64_t)) { return f(1) + 1; }

// EXPECT: loop: entry 0, loops 1
uint64_t loop(uint64_t n) {
  uint64_t sum = 0;
  for (uint64_t i = 0; i < n; ++i) {
    sum += i;
    KEEP(sum);
  }
  return sum;
}

// EXPECT: nest: entry 0, loops 2
uint64_t nest(uint64_t n, uint64_t m) {
  uint64_t sum = 0;
  for (uint64_t i = 0; i < n; ++i) {
    for (uint64_t k = 0; k < m; ++k) {
      sum += k;
      KEEP(sum);
    }
  }
  return sum;
}

// EXPECT: short_loop: entry 0, loops 0
uint64_t short_loop(uint64_t sum) {
#pragma clang loop unroll(disable)
  for (int i = 0; i < 16; ++i) KEEP(sum);
  return sum;
}

// EXPECT: long_loop: entry 0, loops 1
uint64_t long_loop(uint64_t sum) {
#pragma clang loop unroll(disable)
  for (int i = 0; i < 1000; ++i) KEEP(sum);
  return sum;
}

// EXPECT: short_loop_with_call: entry 1, loops 1
uint64_t short_loop_with_call(uint64_t sum) {
#pragma clang loop unroll(disable)
  for (int i = 0; i < 16; ++i) sum = outside(sum);
  return sum;
}

// Each round meets the callee's probe.
// EXPECT: loop_with_probed_call: entry 1, loops 0
uint64_t loop_with_probed_call(uint64_t n) {
  uint64_t sum = 0;
  for (uint64_t i = 0; i < n; ++i) sum += calls_outside(sum) + i;
  return sum;
}

// Not in each round.
// EXPECT: loop_with_seldom_call: entry 1, loops 1
uint64_t loop_with_seldom_call(uint64_t n) {
  uint64_t sum = 0;
  for (uint64_t i = 0; i < n; ++i) {
    KEEP(sum);
    if (sum % 7 == 0) sum += calls_outside(sum);
    ++sum;
  }
  return sum;
}

// EXPECT: recursion: entry 1, loops 0
uint64_t recursion(uint64_t n) {
  KEEP(n);
  return n < 2 ? n : recursion(n - 1) * 3 ^ recursion(n - 2) * 5;
}

// Two ways into the cycle: no natural loop.
// EXPECT: irreducible: entry 0, loops 1
uint64_t irreducible(uint64_t n) {
  if (n & 1) goto middle;
top:
  n = n * 3 + 1;
  KEEP(n);
middle:
  n >>= 1;
  KEEP(n);
  if (n > 7) goto top;
  return n;
}

thread_local uint64_t variable;
extern thread_local uint64_t variable_elsewhere;

// EXPECT: reads_variable: no probes (thread_local)
uint64_t reads_variable() { return variable; }

// EXPECT: guards_variable: guarded (thread_local)
uint64_t guards_variable(uint64_t n) {
  for (uint64_t i = 0; i < n; ++i) variable += outside(variable);
  return variable;
}

// EXPECT: guards_field: guarded (thread_local)
void* guards_field() {
  static thread_local char array[64];
  outside(0);
  return array + 40;
}

// EXPECT: guards_elsewhere: guarded (wrapper of a thread_local)
uint64_t guards_elsewhere() { return outside(variable_elsewhere) + 1; }

// EXPECT: guards_errno: guarded (thread_local of a library)
uint64_t guards_errno(uint64_t n) { return outside(n) + (errno == 0 ? 1 : 0); }

// libstdc++'s std::stop_source keeps a lock of its own by it.
// EXPECT: guards_self: guarded (thread_local of a library)
uint64_t guards_self(uint64_t n) {
  return outside(n) + (pthread_self() == 0 ? 1 : 0);
}

// EXPECT: guards_globals: guarded (thread_local of a library)
uint64_t guards_globals(uint64_t n) {
  return outside(n) + (__cxa_get_globals_fast() == nullptr ? 1 : 0);
}

// EXPECT: guards_pointer: guarded (thread pointer)
uint64_t guards_pointer(uint64_t n) {
  return outside(n) + reinterpret_cast<uint64_t>(__builtin_thread_pointer());
}

// EXPECT: guards_base: guarded (thread pointer)
[[gnu::target("fsgsbase")]] uint64_t guards_base(uint64_t n) {
  return outside(n) + __builtin_ia32_rdfsbase64();
}

// EXPECT: guards_assembly: guarded (assembly that uses %fs)
uint64_t guards_assembly(uint64_t n) {
  uint64_t self;
  asm("MOVQ %%FS:0, %0" : "=r"(self));
  return outside(n) + self;
}

// EXPECT: guards_base_assembly: guarded (assembly that uses %fs)
uint64_t guards_base_assembly(uint64_t n) {
  uint64_t self;
  asm("rdfsbase %0" : "=r"(self));
  return outside(n) + self;
}

using Segment = uint64_t __attribute__((address_space(257)));

// EXPECT: guards_segment: guarded (memory that %fs finds)
uint64_t guards_segment(uint64_t n, const Segment* at) {
  return outside(n) + at[n];
}

// EXPECT: guards_segment_constant: guarded (memory that %fs finds)
uint64_t guards_segment_constant(uint64_t n) {
  return outside(n) + *reinterpret_cast<const Segment*>(0x28);
}

// EXPECT: annotated: guarded (annotated)
[[clang::annotate("yamanote_no_preempt")]] uint64_t annotated(uint64_t n) {
  return outside(n) + 1;
}

// The annotated function stays out of it.
// EXPECT: calls_annotated: entry 1, loops 0
uint64_t calls_annotated(uint64_t n) { return annotated(n) + 1; }

// No probe while the lock is held, where it could not be answered.
// EXPECT: takes_lock: entry 1, loops 0, unlocks 1
void takes_lock(pthread_mutex_t* lock, const int* done) {
  for (bool end = false; !end;) {
    pthread_mutex_lock(lock);
    end = *done != 0;
    pthread_mutex_unlock(lock);
  }
}

[[gnu::naked]] void naked() { asm("ret"); }

uint64_t yamanote_preempt_something(uint64_t n) { return outside(n) + 1; }

}  // extern "C"
