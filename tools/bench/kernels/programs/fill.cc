// fill.cc - writes an arithmetic sequence over an array: one store per round.

#include <cstddef>
#include <cstdint>
#include <vector>

extern "C" uint64_t kernel_fill(uint64_t n) {
  std::vector<uint64_t> words(4096);
  uint64_t sum = 0;
  for (uint64_t round = 0; round < n; ++round) {
    uint64_t value = round;
    for (uint64_t& word : words) {
      word = value;
      value += 3;
    }
    sum += words[round % words.size()];
  }
  return sum;
}
