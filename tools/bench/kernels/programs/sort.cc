// sort.cc - std::sort over pseudo-random numbers.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

extern "C" uint64_t kernel_sort(uint64_t n) {
  std::vector<uint64_t> words(2048);
  uint64_t state = 88172645463325252ull;
  uint64_t sum = 0;
  for (uint64_t round = 0; round < n; ++round) {
    for (uint64_t& word : words) {
      state ^= state << 13;
      state ^= state >> 7;
      state ^= state << 17;
      word = state;
    }
    std::sort(words.begin(), words.end());
    sum += words[round % words.size()];
  }
  return sum;
}
