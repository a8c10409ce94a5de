// map.cc - inserts into, looks up in and erases from a std::unordered_map.

#include <cstdint>
#include <unordered_map>

extern "C" uint64_t kernel_map(uint64_t n) {
  std::unordered_map<uint64_t, uint64_t> map;
  uint64_t state = 88172645463325252ull;
  uint64_t sum = 0;
  for (uint64_t i = 0; i < n * 64; ++i) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    const uint64_t key = state % 8192;
    if ((state >> 60) == 0) {
      map.erase(key);
    } else if ((state >> 60) < 6) {
      map[key] += i;
    } else if (const auto at = map.find(key); at != map.end()) {
      sum += at->second;
    }
  }
  return sum + map.size();
}
