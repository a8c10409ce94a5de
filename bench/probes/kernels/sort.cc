// sort.cc - kernel: std::sort of pseudo-random numbers.

#include <algorithm>
#include <cstdint>
#include <vector>

extern "C" uint64_t kernel_sort(uint64_t n) {
  std::vector<uint64_t> numbers(n);
  uint64_t state = 42;
  for (uint64_t& number : numbers) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    number = state;
  }
  std::sort(numbers.begin(), numbers.end());
  uint64_t sum = 0;
  for (uint64_t i = 0; i < n; ++i) sum += numbers[i] * (i + 1);
  return sum;
}
