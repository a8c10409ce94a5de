// abi.h - what an application and the arbiter read of each other's memory.
//
// The only header that crosses processes: fixed widths, no pointers, lock-free atomics,
// zero is the first value of everything. Who reads copies each word once and checks it:
// the writer may be broken or hostile.

#pragma once

#include <atomic>
#include <cstdint>

namespace yamanote::arbiter {

// What an application shows of one core, in one cache line: of the queue that belongs to
// the core (where cores share one, it is the first's) and of the worker there.
//
// Every word is read by itself and alone says what it says, so all are relaxed.
struct alignas(64) CoreSignals {
  // Written under the queue's lock. Both wrap.
  std::atomic<uint32_t> enqueued;
  std::atomic<uint32_t> taken;
  // CLOCK_MONOTONIC, ns, when the oldest task in the queue joined it; 0: nothing waits,
  // or nobody asked for the time.
  std::atomic<int64_t> oldest_since;

  // Written by the worker. How long it had the core and no task, ns.
  std::atomic<int64_t> idle;
  // CLOCK_MONOTONIC, ns, since when it has none; 0: it has.
  std::atomic<int64_t> idle_since;
};
static_assert(sizeof(CoreSignals) == 64);
static_assert(std::atomic<int64_t>::is_always_lock_free);

}  // namespace yamanote::arbiter
