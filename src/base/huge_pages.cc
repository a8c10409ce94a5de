// huge_pages.cc - aligned anonymous mappings.
//
// Rejected: MAP_HUGETLB (needs pages reserved by the administrator); one large
// reservation that is cut up (commits the largest size that was ever asked for).

#include "base/huge_pages.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <utility>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

namespace yamanote::base {
namespace {

size_t RoundUp(size_t bytes, size_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

}  // namespace

HugePages::HugePages(size_t bytes) {
  const bool small = bytes < kBytes;
  const size_t size = RoundUp(
      bytes, small ? static_cast<size_t>(sysconf(_SC_PAGESIZE)) : kBytes);
  // Room to align; what is over goes back.
  const size_t mapped = small ? size : size + kBytes;
  void* const memory = mmap(nullptr, mapped, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return;
  data_ = static_cast<std::byte*>(memory);
  size_ = size;
  if (small) return;
  const auto address = reinterpret_cast<uintptr_t>(memory);
  const size_t before = RoundUp(address, kBytes) - address;
  if (before > 0) munmap(data_, before);
  data_ += before;
  const size_t after = mapped - before - size;
  if (after > 0) munmap(data_ + size, after);
  // No matter if the system does not grant it.
  madvise(data_, size_, MADV_HUGEPAGE);
}

HugePages::~HugePages() {
  if (data_ != nullptr) munmap(data_, size_);
}

HugePages::HugePages(HugePages&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

HugePages& HugePages::operator=(HugePages&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

bool HugePages::Populate() {
  return data_ != nullptr && madvise(data_, size_, MADV_POPULATE_WRITE) == 0;
}

}  // namespace yamanote::base
