// huge_pages.h - zeroed memory for pools, on huge pages where there are some.
//
// A page that is touched for the first time costs a microsecond and more, several
// in a VM; pools that grow while a burst arrives would pay that on each request's
// way. One huge page is one fault, and one entry in the TLB.

#pragma once

#include <cstddef>

namespace yamanote::base {

class HugePages {
 public:
  static constexpr size_t kBytes = size_t{2} << 20;  // Of a huge page.

  // Nothing.
  HugePages() = default;
  // Maps `bytes` (> 0), rounded up to huge pages unless they are less than one.
  // data() is nullptr if the system has no address space; errno says so.
  explicit HugePages(size_t bytes);
  ~HugePages();
  HugePages(HugePages&& other) noexcept;
  HugePages& operator=(HugePages&& other) noexcept;

  // Faults all of it in, now, by one call. False, and nothing is done, where the
  // system can't (before Linux 5.14) or has no memory.
  bool Populate();

  std::byte* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace yamanote::base
