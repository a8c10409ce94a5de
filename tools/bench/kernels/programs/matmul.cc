// matmul.cc - multiplies square matrices of doubles, rows by rows.

#include <cstddef>
#include <cstdint>
#include <vector>

namespace {

constexpr size_t kSize = 96;

void Multiply(const double* a, const double* b, double* c) {
  for (size_t i = 0; i < kSize; ++i) {
    for (size_t j = 0; j < kSize; ++j) c[i * kSize + j] = 0;
    for (size_t k = 0; k < kSize; ++k) {
      const double factor = a[i * kSize + k];
      for (size_t j = 0; j < kSize; ++j) {
        c[i * kSize + j] += factor * b[k * kSize + j];
      }
    }
  }
}

}  // namespace

extern "C" uint64_t kernel_matmul(uint64_t n) {
  std::vector<double> a(kSize * kSize);
  std::vector<double> b(kSize * kSize);
  std::vector<double> c(kSize * kSize);
  for (size_t i = 0; i < a.size(); ++i) {
    a[i] = static_cast<double>(i % 17);
    b[i] = static_cast<double>(i % 23);
  }
  double sum = 0;
  for (uint64_t round = 0; round < n; ++round) {
    a[round % a.size()] += 1;
    Multiply(a.data(), b.data(), c.data());
    sum += c[round % c.size()];
  }
  return static_cast<uint64_t>(sum);
}
