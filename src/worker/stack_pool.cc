// stack_pool.cc - maps slabs of stacks and installs their guards.

#include "worker/stack_pool.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <mutex>

#include "base/check.h"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

namespace yamanote::worker {
namespace {

// Tops of stacks are staggered so that the hot ends of many stacks do not fall
// into the same sets of the first-level cache.
constexpr size_t kColours = 8;
constexpr size_t kColourBytes = 192;

Error SystemError(const char* what, int error) {
  std::string message = "can't make a stack: ";
  message += what;
  message += ": ";
  message += std::strerror(error);
  if (error == ENOMEM) {
    message +=
        "; raise `ulimit -v` or vm.max_map_count (sysctl), lower stack_bytes, "
        "or use a kernel with light guards (6.13 or later)";
  }
  return Error{ErrorCode::kResourceExhausted, std::move(message), error};
}

// Gives pages back to the kernel, those of many stacks by one call: each call
// has the other cores forget the addresses, an interrupt of some 20 us in a VM.
class PageReturn {
 public:
  ~PageReturn() { Flush(); }

  void Add(void* memory, size_t bytes) {
    // The kernel cuts a call at 2 GiB.
    if (bytes_ + bytes > size_t{1} << 30) Flush();
    ranges_[count_++] = {memory, bytes};
    bytes_ += bytes;
    if (count_ == ranges_.size()) Flush();
  }

 private:
  static constexpr int kPidfdSelf = -10000;  // PIDFD_SELF, Linux 6.14.

  void Flush() {
    // A process may advise itself so since Linux 6.13. Half done: once more.
    if (count_ > 1 &&
        syscall(SYS_process_madvise, kPidfdSelf, ranges_.data(), count_,
                MADV_DONTNEED, 0) == static_cast<long>(bytes_)) {
      count_ = 0;
    }
    for (; count_ > 0; --count_) {
      const iovec& range = ranges_[count_ - 1];
      madvise(range.iov_base, range.iov_len, MADV_DONTNEED);
    }
    bytes_ = 0;
  }

  std::array<iovec, 64> ranges_;
  size_t count_ = 0;
  size_t bytes_ = 0;
};

}  // namespace

StackPool::StackPool(size_t stack_bytes, size_t max_stacks, Protect* protect)
    : stack_bytes_(stack_bytes),
      max_stacks_(max_stacks),
      protect_(protect != nullptr ? protect : &mprotect),
      light_guards_(protect == nullptr) {}

StackPool::~StackPool() {
  for (Slab* slab : slabs_) {
    for (Stack& stack : slab->stacks) sanitizer::DestroyFiber(stack.fiber);
    munmap(slab->memory, slab_bytes());
    delete slab;
  }
}

Result<StackPool::Slab*> StackPool::MakeSlab() {
  if ((slabs_.size() + 1) * kStacksPerSlab > max_stacks_ + kStacksPerSlab - 1) {
    return MakeError(
        ErrorCode::kResourceExhausted,
        "stacks in use: " + std::to_string(slabs_.size() * kStacksPerSlab) +
            ", the limit; raise max_threads");
  }
  void* const memory =
      mmap(nullptr, slab_bytes(), PROT_READ | PROT_WRITE,
           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (memory == MAP_FAILED) return tl::unexpected(SystemError("mmap", errno));
  // A huge page would commit the memory of thirty stacks at the first touch.
  madvise(memory, slab_bytes(), MADV_NOHUGEPAGE);
  auto* const slab = new Slab(static_cast<char*>(memory));
  for (size_t i = 0; i < kStacksPerSlab; ++i) {
    char* const guard = slab->memory + i * (stack_bytes_ + kGuardBytes);
    if (light_guards_ && madvise(guard, kGuardBytes, MADV_GUARD_INSTALL) != 0) {
      light_guards_ = false;
    }
    if (!light_guards_ && protect_(guard, kGuardBytes, PROT_NONE) != 0) {
      const int error = errno;
      munmap(memory, slab_bytes());
      delete slab;
      return tl::unexpected(SystemError("mprotect", error));
    }
    Stack& stack = slab->stacks[i];
    stack.bottom = guard + kGuardBytes;
    stack.top = stack.bottom + stack_bytes_ - (i % kColours) * kColourBytes;
  }
  return slab;
}

Result<void> StackPool::Grow() {
  const std::lock_guard growing(grow_lock_);
  {
    const std::lock_guard guard(lock_);
    if (free_ != nullptr) return {};  // Another thread was first.
  }
  const Result<Slab*> slab = MakeSlab();
  if (!slab) return tl::unexpected(slab.error());
  slabs_.push_back(*slab);
  const std::lock_guard guard(lock_);
  for (Stack& stack : (*slab)->stacks) {
    stack.next = free_;
    free_ = &stack;
  }
  free_count_ += kStacksPerSlab;
  return {};
}

size_t StackPool::TakeReady(size_t count, Stack*& head) {
  const std::lock_guard guard(lock_);
  size_t taken = 0;
  for (; taken < count && free_ != nullptr; ++taken) {
    Stack* const stack = free_;
    free_ = stack->next;
    --free_count_;
    stack->next = head;
    head = stack;
  }
  return taken;
}

Result<void> StackPool::Take(size_t count, Stack*& head, size_t& taken) {
  taken = TakeReady(count, head);
  while (taken == 0) {
    if (Result<void> grown = Grow(); !grown) return grown;
    taken = TakeReady(count, head);
  }
  return {};
}

void StackPool::Return(Stack* head, size_t count) {
  size_t warm;
  {
    const std::lock_guard guard(lock_);
    warm = free_count_;
  }
  // The system calls are made outside of the lock; `warm` may be a little
  // stale.
  {
    PageReturn pages;
    for (Stack* stack = head; stack != nullptr; stack = stack->next) {
      if (warm++ < kWarmBytes / stack_bytes_ || !stack->touched) continue;
      pages.Add(stack->bottom, stack_bytes_);
      stack->touched = false;
    }
  }
  const std::lock_guard guard(lock_);
  while (head != nullptr) {
    Stack* const next = head->next;
    head->next = free_;
    free_ = head;
    head = next;
  }
  free_count_ += count;
}

}  // namespace yamanote::worker
