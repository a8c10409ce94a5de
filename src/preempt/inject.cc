// inject.cc - compiled for general registers only; see inject.h.

#include "preempt/inject.h"

#include <array>
#include <atomic>

#include "base/spin_lock.h"

extern "C" {
// A linker makes these for sections with a C name; absent: no such section.
[[gnu::weak, gnu::visibility(
                 "hidden")]] extern const char __start_yamanote_interruptible[];
[[gnu::weak,
  gnu::visibility("hidden")]] extern const char __stop_yamanote_interruptible[];
// probe_x86_64.S: calls the probe's code and goes on where it was injected.
void yamanote_preempt_injected();
}

namespace yamanote::preempt {
namespace {

constexpr uintptr_t kRedZone = 128;
// What the probe's code saves (docs/probes.md) and the engine's frames behind it.
constexpr uintptr_t kStackNeeded = 8 * 1024;

struct Range {
  uintptr_t begin = 0;
  uintptr_t end = 0;
};

// Ranges are added and never taken away. Release of `count` in AddRange() pairs
// with acquire in IsInterruptible().
struct Ranges {
  static constexpr size_t kMost = 64;
  std::array<Range, kMost> ranges{};
  std::atomic<size_t> count{0};
  base::SpinLock lock;  // Of writers.
};
constinit Ranges g_ranges;

Range Section() {
  return {.begin = reinterpret_cast<uintptr_t>(__start_yamanote_interruptible),
          .end = reinterpret_cast<uintptr_t>(__stop_yamanote_interruptible)};
}

}  // namespace

void InjectProbe(uintptr_t& ip, uintptr_t& sp, const RunningTask& task) {
  ThreadState& state = yamanote_preempt_state;
  if (state.flag.load(std::memory_order_relaxed) == 0 || state.disabled != 0 ||
      (state.guard != 0 && sp < state.guard) || !IsInterruptible(ip))
    return;
  if (task.name == nullptr || sp < task.stack_bottom + kStackNeeded) return;
  // It is to be answered, whatever others a core that asks itself lets pass. The thread
  // does not stand in a probe, which has no range.
  state.skips = 0;
  sp -= kRedZone + sizeof(uintptr_t);
  // NOLINTNEXTLINE(performance-no-int-to-ptr)
  *reinterpret_cast<uintptr_t*>(sp) = ip;
  ip = reinterpret_cast<uintptr_t>(&yamanote_preempt_injected);
}

bool IsInterruptible(uintptr_t address) {
  const Range section = Section();
  if (address >= section.begin && address < section.end) return true;
  const size_t count = g_ranges.count.load(std::memory_order_acquire);
  for (size_t i = 0; i < count; ++i) {
    const Range& range = g_ranges.ranges[i];
    if (address >= range.begin && address < range.end) return true;
  }
  return false;
}

bool HasInterruptible() {
  const Range section = Section();
  return section.begin != section.end ||
         g_ranges.count.load(std::memory_order_acquire) != 0;
}

bool AddRange(uintptr_t begin, uintptr_t end) {
  g_ranges.lock.lock();
  const size_t count = g_ranges.count.load(std::memory_order_relaxed);
  const bool room = count < Ranges::kMost;
  if (room) {
    g_ranges.ranges[count] = {.begin = begin, .end = end};
    g_ranges.count.store(count + 1, std::memory_order_release);
  }
  g_ranges.lock.unlock();
  return room;
}

}  // namespace yamanote::preempt
