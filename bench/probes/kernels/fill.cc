// fill.cc - kernel: writes an array of 16 KiB over and over; vectorised.

#include <cstdint>

namespace {
constexpr uint64_t kWords = 4096;
// Aligned: how fast it is written depends on it, and builds differ in layout.
alignas(64) uint32_t g_array[kWords];
}  // namespace

extern "C" uint64_t kernel_fill(uint64_t n) {
  for (uint64_t round = 0; round < n; ++round) {
    const auto value = static_cast<uint32_t>(round * 2654435761U);
    for (uint64_t i = 0; i < kWords; ++i) {
      g_array[i] = value + static_cast<uint32_t>(i);
    }
    // Otherwise the compiler keeps the last round only.
    asm volatile("" : : "r"(g_array) : "memory");
  }
  uint64_t sum = 0;
  for (const uint32_t word : g_array) sum += word;
  return sum;
}
