// hash.cc - kernel: FNV-1a over bytes; a chain of multiplications.

#include <cstdint>

namespace {
constexpr uint64_t kBytes = 4096;
alignas(64) unsigned char g_bytes[kBytes];
}  // namespace

extern "C" uint64_t kernel_hash(uint64_t n) {
  for (uint64_t i = 0; i < kBytes; ++i) {
    g_bytes[i] = static_cast<unsigned char>(i * 7 + (i >> 3));
  }
  uint64_t hash = 14695981039346656037ULL;
  for (uint64_t round = 0; round < n; ++round) {
    for (uint64_t i = 0; i < kBytes; ++i) {
      hash = (hash ^ g_bytes[i]) * 1099511628211ULL;
    }
  }
  return hash;
}
