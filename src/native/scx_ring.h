// scx_ring.h - reads a BPF ring buffer of messages.
//
// The kernel writes records, each with a header of 8 bytes: its length, with a bit while
// it is being written. A reader waits for that: a message's writer has interrupts off.
//
// One thread reads. Source: the kernel's Documentation/bpf/ringbuf.rst.

#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#include "native/abi.h"

namespace yamanote::native {

class ScxRing {
 public:
  ScxRing() = default;
  // Takes `fd`, a ring of `size` bytes.
  ScxRing(int fd, std::size_t size) : fd_(fd), size_(size) {
    const auto page = static_cast<std::size_t>(getpagesize());
    void* const consumer =
        mmap(nullptr, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    void* const producer = mmap(nullptr, page + 2 * size, PROT_READ, MAP_SHARED,
                                fd, static_cast<off_t>(page));
    if (consumer != MAP_FAILED) consumer_ = static_cast<uint64_t*>(consumer);
    if (producer != MAP_FAILED) producer_ = static_cast<char*>(producer);
  }
  ~ScxRing() {
    const auto page = static_cast<std::size_t>(getpagesize());
    if (consumer_ != nullptr) munmap(consumer_, page);
    if (producer_ != nullptr) munmap(producer_, page + 2 * size_);
    if (fd_ >= 0) close(fd_);
  }
  ScxRing(const ScxRing&) = delete;
  ScxRing& operator=(const ScxRing&) = delete;

  bool ok() const { return consumer_ != nullptr && producer_ != nullptr; }
  int fd() const { return fd_; }

  bool Empty() const {
    return __atomic_load_n(consumer_, __ATOMIC_RELAXED) ==
           __atomic_load_n(Produced(), __ATOMIC_ACQUIRE);
  }

  bool Read(Message& message) {
    const auto page = static_cast<std::size_t>(getpagesize());
    while (!Empty()) {
      const uint64_t at = *consumer_;
      char* const record = producer_ + page + (at & (size_ - 1));
      const auto* const header = reinterpret_cast<const uint32_t*>(record);
      uint32_t length = __atomic_load_n(header, __ATOMIC_ACQUIRE);
      while ((length & kBusy) != 0) {
        __builtin_ia32_pause();
        length = __atomic_load_n(header, __ATOMIC_ACQUIRE);
      }
      const bool is_message =
          (length & kDiscarded) == 0 && length == sizeof(message);
      if (is_message) std::memcpy(&message, record + kHeader, sizeof(message));
      const uint64_t whole = ((length & ~kDiscarded) + kHeader + 7) & ~7ULL;
      // Pairs with the kernel's acquire when it reserves.
      __atomic_store_n(consumer_, at + whole, __ATOMIC_RELEASE);
      if (is_message) return true;
    }
    return false;
  }

 private:
  static constexpr uint32_t kBusy = 1U << 31;
  static constexpr uint32_t kDiscarded = 1U << 30;
  static constexpr std::size_t kHeader = 8;

  const uint64_t* Produced() const {
    return reinterpret_cast<const uint64_t*>(producer_);
  }

  const int fd_ = -1;
  const std::size_t size_ = 0;
  uint64_t* consumer_ = nullptr;
  char* producer_ = nullptr;
};

}  // namespace yamanote::native
