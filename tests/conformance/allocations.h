// allocations.h - counts what a test's program allocates and frees.
//
// Replaces operator new and delete of the whole program: include it in one source of it.

#pragma once

#include <cstdint>
#include <cstdlib>
#include <new>

namespace {
// Calls of operator new and delete by this thread.
thread_local uint64_t allocations = 0;
}  // namespace

// The whole program's, so that nothing a policy does escapes the count.
// Not inlined: GCC would see free() of what operator new returned, and warn.
[[gnu::noinline]] void* operator new(std::size_t size) {
  ++allocations;
  if (void* const memory = std::malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept {
  ++allocations;
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept {
  ++allocations;
  std::free(memory);
}
// Over-aligned types have their own.
[[gnu::noinline]] void* operator new(std::size_t size,
                                     std::align_val_t alignment) {
  ++allocations;
  const auto bytes = static_cast<std::size_t>(alignment);
  // aligned_alloc() wants a multiple of the alignment.
  if (void* const memory =
          std::aligned_alloc(bytes, (size + bytes - 1) / bytes * bytes)) {
    return memory;
  }
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory,
                                       std::align_val_t) noexcept {
  ++allocations;
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t,
                                       std::align_val_t) noexcept {
  ++allocations;
  std::free(memory);
}
