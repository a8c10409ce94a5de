// stack_pool.h - guard-paged stacks, reused.
//
// Stacks are cut from slabs of address space, each with a guard below it. Where
// the kernel has light guards (MADV_GUARD_INSTALL, Linux 6.13) a million stacks
// are a handful of mappings; elsewhere each guard is a mapping of its own and
// vm.max_map_count (65,530 by default) bounds the number of stacks to half of
// it.
//
// Memory is committed by first touch, one page for a thread that calls little.
// A free stack keeps its pages while at most kWarmBytes are free; pages of
// those beyond go back to the kernel.

#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/spin_lock.h"
#include "worker/sanitizer.h"
#include "yamanote/result.h"

namespace yamanote::worker {

// One stack: usable memory is [bottom, top). The descriptor lives outside of
// it.
struct Stack {
  char* bottom = nullptr;
  char* top = nullptr;    // 16-byte aligned.
  Stack* next = nullptr;  // In a free list.
  [[no_unique_address]] sanitizer::Fiber fiber;
  bool touched = false;  // Has run since its pages were last given back.
};

// Bytes below `bottom` that fault when touched.
inline constexpr size_t kGuardBytes = 16 * 1024;

class StackPool {
 public:
  // `stack_bytes`: usable bytes, a multiple of the page size. `max_stacks`
  // bounds how many are ever made.
  StackPool(size_t stack_bytes, size_t max_stacks);
  ~StackPool();
  StackPool(const StackPool&) = delete;
  StackPool& operator=(const StackPool&) = delete;

  // Moves up to `count` free stacks into the list `head`; makes new ones if
  // there are too few. kResourceExhausted if not even one could be had. Any
  // thread.
  Result<void> Take(size_t count, Stack*& head, size_t& taken);

  // Puts the `count` stacks of the list `head` back. Any thread.
  void Return(Stack* head, size_t count);

  size_t stack_bytes() const { return stack_bytes_; }
  bool light_guards() const { return light_guards_; }

 private:
  static constexpr size_t kStacksPerSlab = 64;
  // Of address space; most threads touch a page or two of their stack.
  static constexpr size_t kWarmBytes = size_t{1} << 30;

  struct Slab {
    explicit Slab(char* slab_memory) : memory(slab_memory) {}
    char* const memory;
    Stack stacks[kStacksPerSlab];
  };

  Result<void> AddSlab();  // Under lock_.
  size_t slab_bytes() const {
    return kStacksPerSlab * (stack_bytes_ + kGuardBytes);
  }

  const size_t stack_bytes_;
  const size_t max_stacks_;
  bool light_guards_ = true;  // Until the kernel says otherwise.

  base::SpinLock lock_;  // Guards what follows.
  Stack* free_ = nullptr;
  size_t free_count_ = 0;
  std::vector<Slab*> slabs_;
};

}  // namespace yamanote::worker
