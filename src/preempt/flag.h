// flag.h - a kernel thread's preemption state: what probes and preemptions read.
//
// Defined in probe_x86_64.S. Its parts have names of their own for the compiler
// plug-ins, whose code reads them (docs/probes.md). The flag is set by whoever
// keeps time, from any thread; everything else belongs to the kernel thread.
//
// A task takes `guard` and `disabled` along when it blocks, and leaves none
// behind (Worker::TakeCarried()). A task that is preempted has none.

#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "base/cpu.h"
#include "yamanote/time.h"

namespace yamanote::preempt {

// Who takes user interrupts (user_interrupt.h): the kernel's descriptor, and a count
// that makes those different that had the same one in turn (until 2^32 have been).
struct Receiver {
  uint32_t count = 0;  // 0: none.
  int descriptor = 0;

  explicit operator bool() const { return count != 0; }
  bool operator==(const Receiver&) const = default;
};

struct ThreadState {
  // Not 0: the task should give way at its next probe. Release in Ask() pairs
  // with acquire in Answer().
  alignas(base::kCacheLine) std::atomic<uint8_t> flag{0};
  // The progress of the core (Cores::Progress()) that the flag is meant for: one
  // that comes late asks a task that has just begun. And for how long it
  // stood there (ns), for orders whose slices differ. Guarded by `flag`.
  std::atomic<uint64_t> asked_for{0};
  std::atomic<int64_t> ran{0};
  // Why it was interrupted, and has not answered yet: bits of interrupt.h.
  std::atomic<uint8_t> interrupts{0};
  // Written by the thread itself while no timekeeper knows it; guarded by the
  // timekeeper's lock in between.
  Receiver receiver;

  // Probes in frames below this stack address do not give way; 0: none.
  alignas(base::kCacheLine) uintptr_t guard = 0;
  // How many NoPreempt objects and the like there are, plus kOneLock for every
  // lock of the process that is held.
  uint32_t disabled = 0;
  // MXCSR as the kernel thread began; what others than the interrupted task run
  // with. 0: the ABI's.
  uint32_t mxcsr = 0;
  // So many probes yet that find the flag set go on at once. For a core that asks
  // itself (AskOneself()).
  uint32_t skips = 0;
};
static_assert(offsetof(ThreadState, flag) == 0 &&
                  offsetof(ThreadState, guard) == 64 &&
                  offsetof(ThreadState, disabled) == 72 &&
                  offsetof(ThreadState, mxcsr) == 76 &&
                  offsetof(ThreadState, skips) == 80 &&
                  sizeof(ThreadState) == 128,
              "probe_x86_64.S defines it");

extern "C" {
[[gnu::tls_model(
    "initial-exec")]] extern thread_local ThreadState yamanote_preempt_state;
}

// Two calls that make a stretch without preemption, within which the caller does
// not switch. For the runtime; programs use NoPreempt. The flag that was raised
// meanwhile is answered at the next probe.
inline void Disable() { ++yamanote_preempt_state.disabled; }
inline void Enable() { --yamanote_preempt_state.disabled; }

// The same for locks of the process, which are counted apart: a task that blocks
// with one held is worth a warning. A lock may be given back by a thread that did
// not take it; then there is nothing to count down.
inline constexpr uint32_t kOneLock = 1 << 16;
inline void DisableForLock() { yamanote_preempt_state.disabled += kOneLock; }
inline void EnableAfterLock() {
  if (yamanote_preempt_state.disabled >= kOneLock)
    yamanote_preempt_state.disabled -= kOneLock;
}

// The calling kernel thread's. Not to be kept across anything that may switch.
ThreadState& OwnState();

struct Request {
  uint64_t progress = 0;
  Duration ran{0};  // To the accuracy of who keeps time.
};

// Asks the task that `state`'s kernel thread runs to give way, if the core's
// progress is still the same when it sees that. Any thread; one at a time for
// one state.
inline void Ask(ThreadState& state, const Request& request) {
  state.asked_for.store(request.progress, std::memory_order_relaxed);
  state.ran.store(ToNanos(request.ran), std::memory_order_relaxed);
  state.flag.store(1, std::memory_order_release);
}

// Has the calling kernel thread's own task give way, or look at the clock, at its next
// probe but `skips`.
inline void AskOneself(ThreadState& state, uint32_t skips) {
  state.skips = skips;
  // Relaxed: this thread reads it, and nothing else of the request.
  state.flag.store(1, std::memory_order_relaxed);
}

// Whether what has `frame` is below the guard, or was called from there. A guard that an
// exception left behind is lifted. The kernel thread itself.
inline bool IsGuarded(ThreadState& state, const void* frame) {
  if (state.guard == 0) return false;
  if (reinterpret_cast<uintptr_t>(frame) < state.guard) return true;
  state.guard = 0;
  return false;
}

// Lowers the flag; returns what it was raised for. The kernel thread itself.
inline Request Answer(ThreadState& state) {
  // Acquire: pairs with Ask(). A store and not an exchange, which would wait until
  // the line is this core's alone, and the inbox's line could only come after that:
  // 1 of 100 took 8 us so (2-vCPU AMD VM, 2026-11-26). So a request that comes at
  // this very moment is lost: who has made no progress a slice later is asked again.
  (void)state.flag.load(std::memory_order_acquire);
  state.flag.store(0, std::memory_order_relaxed);
  return {.progress = state.asked_for.load(std::memory_order_relaxed),
          .ran = Duration(state.ran.load(std::memory_order_relaxed))};
}

}  // namespace yamanote::preempt
