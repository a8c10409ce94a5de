// matmul.cc - kernel: products of small matrices of doubles; vectorised.

#include <cstdint>

namespace {
constexpr uint64_t kSize = 64;
alignas(64) double g_left[kSize][kSize];
alignas(64) double g_right[kSize][kSize];
alignas(64) double g_product[kSize][kSize];
}  // namespace

extern "C" uint64_t kernel_matmul(uint64_t n) {
  for (uint64_t i = 0; i < kSize; ++i) {
    for (uint64_t j = 0; j < kSize; ++j) {
      // Small integers: exact in any order of additions.
      g_left[i][j] = static_cast<double>((i * 3 + j) % 7);
      g_right[i][j] = static_cast<double>((i + j * 5) % 11);
      g_product[i][j] = 0;
    }
  }
  for (uint64_t round = 0; round < n; ++round) {
    for (uint64_t i = 0; i < kSize; ++i) {
      for (uint64_t k = 0; k < kSize; ++k) {
        const double factor = g_left[i][k];
        for (uint64_t j = 0; j < kSize; ++j) {
          g_product[i][j] += factor * g_right[k][j];
        }
      }
    }
    asm volatile("" : : "r"(g_product) : "memory");
  }
  double sum = 0;
  for (const auto& row : g_product) {
    for (const double cell : row) sum += cell;
  }
  return static_cast<uint64_t>(sum);
}
