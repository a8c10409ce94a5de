// map.cc - kernel: counts words in a std::unordered_map.

#include <cstdint>
#include <unordered_map>

extern "C" uint64_t kernel_map(uint64_t n) {
  std::unordered_map<uint64_t, uint64_t> counts;
  uint64_t state = 1;
  for (uint64_t i = 0; i < n; ++i) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    counts[(state >> 33) % 5000] += i;
    if (i % 7 == 0) counts.erase((state >> 40) % 5000);
  }
  uint64_t sum = counts.size();
  for (const auto& [key, count] : counts) sum += key ^ count;
  return sum;
}
