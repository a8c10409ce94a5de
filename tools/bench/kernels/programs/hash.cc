// hash.cc - FNV-1a over a buffer, byte by byte: a chain of multiplications.

#include <cstddef>
#include <cstdint>
#include <string>

extern "C" uint64_t kernel_hash(uint64_t n) {
  std::string bytes(4096, '\0');
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<char>(i * 7);
  }
  uint64_t hash = 14695981039346656037ull;
  for (uint64_t round = 0; round < n; ++round) {
    for (const char byte : bytes) {
      hash ^= static_cast<unsigned char>(byte);
      hash *= 1099511628211ull;
    }
  }
  return hash;
}
