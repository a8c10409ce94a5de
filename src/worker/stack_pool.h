// stack_pool.h - guard-paged stacks, reused.
//
// Stacks are cut from slabs of address space, each with a guard below it. Where
// the kernel has light guards (MADV_GUARD_INSTALL, Linux 6.13) a million stacks
// are a handful of mappings; elsewhere each guard is a mapping of its own and
// vm.max_map_count (65,530 by default) bounds the number of stacks to half of
// it.
//
// A slab is made outside of the lock, as a whole or not at all.
//
// Memory is committed by first touch, one page for a thread that calls little.
// A free stack keeps its pages while at most kWarmBytes are free; pages of
// those beyond go back to the kernel.

#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
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
  // As mprotect().
  using Protect = int(void* memory, size_t bytes, int protection);

  // `stack_bytes`: usable bytes, a multiple of the page size. `max_stacks`
  // bounds how many are ever made. With `protect` each guard is a mapping made
  // by that: for tests of a kernel that refuses one.
  StackPool(size_t stack_bytes, size_t max_stacks, Protect* protect = nullptr);
  ~StackPool();
  StackPool(const StackPool&) = delete;
  StackPool& operator=(const StackPool&) = delete;

  // Moves up to `count` free stacks into the list `head`; makes new ones if
  // there is none. kResourceExhausted if not even one could be had; then the
  // pool is as it was. May wait while another thread maps a slab. Any thread.
  Result<void> Take(size_t count, Stack*& head, size_t& taken);

  // Puts the `count` stacks of the list `head` back. Any thread.
  void Return(Stack* head, size_t count);

  size_t stack_bytes() const { return stack_bytes_; }

 private:
  static constexpr size_t kStacksPerSlab = 64;
  // Of address space; most threads touch a page or two of their stack.
  static constexpr size_t kWarmBytes = size_t{1} << 30;

  struct Slab {
    explicit Slab(char* slab_memory) : memory(slab_memory) {}
    char* const memory;
    Stack stacks[kStacksPerSlab];
  };

  // Takes what is there.
  size_t TakeReady(size_t count, Stack*& head);
  // Makes sure that there was something to take.
  Result<void> Grow();
  // A slab with all its guards. Under grow_lock_.
  Result<Slab*> MakeSlab();
  size_t slab_bytes() const {
    return kStacksPerSlab * (stack_bytes_ + kGuardBytes);
  }

  const size_t stack_bytes_;
  const size_t max_stacks_;
  Protect* const protect_;

  std::mutex grow_lock_;  // One thread maps at a time. Guards these two:
  bool light_guards_;     // Until the kernel says otherwise.
  std::vector<Slab*> slabs_;

  base::SpinLock lock_;  // Guards what follows. Taken after grow_lock_.
  Stack* free_ = nullptr;
  size_t free_count_ = 0;
};

}  // namespace yamanote::worker
