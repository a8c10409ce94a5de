// inbox.h - how tasks reach a domain that only its owner may call.
//
// Any thread pushes; the owner takes everything at once, oldest first. Links
// live in the tasks, so nothing allocates or fails: admission bounds the length.
//
//   1. A producer links its task to the newest one and
//   2. makes it the newest by compare-and-swap (release).
//   3. The owner swaps the newest with null (acquire): all earlier pushes are
//      its own now, newest first;
//   4. it turns the chain round and hands the tasks over, oldest first.
//
// There is no ABA problem: nobody but the owner removes, and it removes all.
// Rejected: a bounded ring; a full ring would need a second path.

#pragma once

#include <atomic>
#include <cstdint>

#include "base/cpu.h"
#include "yamanote/task.h"

namespace yamanote::dispatch {

class alignas(base::kNoSharing) TaskInbox {
 public:
  // Any thread. `task` belongs to the owner from here on.
  void Push(Task& task, Wake why) {
    // Counted first, so that the count never falls below what is inside.
    pending_.fetch_add(1, std::memory_order_relaxed);
    const uintptr_t entry =
        reinterpret_cast<uintptr_t>(&task) | static_cast<uintptr_t>(why);
    uintptr_t newest = newest_.load(std::memory_order_relaxed);
    do {
      task.next_ =
          reinterpret_cast<Task*>(newest);  // NOLINT(performance-no-int-to-ptr)
      // Release: pairs with Drain().
    } while (!newest_.compare_exchange_weak(
        newest, entry, std::memory_order_release, std::memory_order_relaxed));
  }

  // Calls take(task, why) for everything pushed so far, oldest first. The owner
  // alone. Bounded by what is inside when it starts.
  template <typename Take>
  void Drain(Take&& take) {
    if (Empty()) return;
    // Acquire: pairs with Push().
    uintptr_t entry = newest_.exchange(0, std::memory_order_acquire);
    uintptr_t oldest = 0;
    uint32_t count = 0;
    while (entry != 0) {
      Task* const task = TaskOf(entry);
      const auto older = reinterpret_cast<uintptr_t>(task->next_);
      task->next_ =
          reinterpret_cast<Task*>(oldest);  // NOLINT(performance-no-int-to-ptr)
      oldest = entry;
      entry = older;
      ++count;
    }
    while (oldest != 0) {
      Task* const task = TaskOf(oldest);
      const Wake why = static_cast<Wake>(oldest & kWakeMask);
      oldest = reinterpret_cast<uintptr_t>(task->next_);
      task->next_ = nullptr;
      take(*task, why);
    }
    pending_.fetch_sub(count, std::memory_order_relaxed);
  }

  // Any thread; a hint unless a fence precedes (placement.h).
  bool Empty() const { return newest_.load(std::memory_order_relaxed) == 0; }

  // Tasks inside, roughly. Any thread. For load balancing.
  uint32_t Pending() const { return pending_.load(std::memory_order_relaxed); }

 private:
  // The reason to wake travels in the low bits of the task's address.
  static constexpr uintptr_t kWakeMask = 7;
  static_assert(alignof(Task) > kWakeMask &&
                static_cast<uintptr_t>(Wake::kMigrated) <= kWakeMask);

  static Task* TaskOf(uintptr_t entry) {
    // NOLINTNEXTLINE(performance-no-int-to-ptr)
    return reinterpret_cast<Task*>(entry & ~kWakeMask);
  }

  std::atomic<uintptr_t> newest_{0};
  std::atomic<uint32_t> pending_{0};
};

}  // namespace yamanote::dispatch
