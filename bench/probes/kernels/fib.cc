// fib.cc - kernel: doubly recursive Fibonacci numbers; nothing but calls.

#include <cstdint>

namespace {
// noinline: the calls are what is measured.
[[gnu::noinline]] uint64_t Fib(uint64_t n) {
  return n < 2 ? n : Fib(n - 1) + Fib(n - 2);
}
}  // namespace

extern "C" uint64_t kernel_fib(uint64_t n) { return Fib(n); }
