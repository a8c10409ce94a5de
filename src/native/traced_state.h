// traced_state.h - reads and changes the words that BPF programs and user space share.
//
// bpf/tracing_abi.h says who may change what, and why it holds.

#pragma once

#include "native/bpf/tracing_abi.h"
#include "native/kernel.h"

namespace yamanote::native::traced {

inline uint64_t Load(const uint64_t& word) {
  return __atomic_load_n(&word, __ATOMIC_ACQUIRE);
}
inline void Store(uint64_t& word, uint64_t value) {
  __atomic_store_n(&word, value, __ATOMIC_RELEASE);
}
// False: `word` is not `expected`, which becomes what it is.
inline bool Exchange(uint64_t& word, uint64_t& expected, uint64_t desired) {
  return __atomic_compare_exchange_n(&word, &expected, desired, false,
                                     __ATOMIC_SEQ_CST, __ATOMIC_ACQUIRE);
}

inline constexpr uint64_t kQueueMask = 0xffff;
inline constexpr uint64_t kOneMessage = uint64_t{1} << 32;
inline constexpr uint64_t kRunnable = uint64_t{kTracedRunnable} << 16;
inline constexpr uint64_t kAnnounced = uint64_t{kTracedAnnounced} << 16;

inline uint32_t SequenceOf(uint64_t state) {
  return static_cast<uint32_t>(state >> 32);
}
inline QueueId QueueOf(uint64_t state) {
  return static_cast<QueueId>(state & kQueueMask);
}

}  // namespace yamanote::native::traced
