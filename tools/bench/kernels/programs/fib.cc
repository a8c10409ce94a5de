// fib.cc - Fibonacci numbers the slow way: nothing but calls.

#include <cstdint>

namespace {

uint64_t Fib(uint64_t n) { return n < 2 ? n : Fib(n - 1) + Fib(n - 2); }

}  // namespace

extern "C" uint64_t kernel_fib(uint64_t n) {
  uint64_t sum = 0;
  for (uint64_t round = 0; round < n; ++round) sum += Fib(15 + round % 4);
  return sum;
}
