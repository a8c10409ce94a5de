// memory.h - memory that is shared with applications, and cannot be turned against us.
//
// A memfd whose size is sealed: who has it cannot make a reader of it fail by cutting it
// short.

#pragma once

#include <cstddef>

#include "yamanote/result.h"

namespace yamanote::arbiter {

class SharedMemory {
 public:
  // kOurs: written here, readable by whoever gets the descriptor.
  // kTheirs: read here, written by whoever gets the descriptor.
  // kBoth: written here and by whoever gets the descriptor.
  enum class Writer : unsigned char { kOurs, kTheirs, kBoth };

  SharedMemory() = default;
  // Zero. kResourceExhausted: no memory or descriptor is left.
  static Result<SharedMemory> Create(const char* name, std::size_t bytes,
                                     Writer writer);
  SharedMemory(SharedMemory&& other) noexcept { *this = std::move(other); }
  SharedMemory& operator=(SharedMemory&& other) noexcept;
  ~SharedMemory();

  int descriptor() const { return descriptor_; }
  void* data() const { return data_; }

 private:
  int descriptor_ = -1;
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace yamanote::arbiter
