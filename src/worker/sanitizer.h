// sanitizer.h - tells ASan and TSan about stack switches, so that programs that
// use user threads can be sanitised. Empty in other builds.
//
// ThreadSanitizer sees a stack as a fiber. A fiber belongs to a stack, not to a
// thread: threads that run one after another on one stack are ordered anyway.

#pragma once

#include <atomic>
#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#define YAMANOTE_ASAN 1
#endif
#if defined(__SANITIZE_THREAD__)
#define YAMANOTE_TSAN 1
#endif
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define YAMANOTE_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define YAMANOTE_TSAN 1
#endif
#endif

#if defined(YAMANOTE_ASAN)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(YAMANOTE_TSAN)
#include <sanitizer/tsan_interface.h>
#endif

namespace yamanote::worker::sanitizer {

// What a suspended context remembers for AddressSanitizer.
struct Saved {
#if defined(YAMANOTE_ASAN)
  void* fake_stack = nullptr;
#endif
};

// A stack as ThreadSanitizer sees it.
struct Fiber {
#if defined(YAMANOTE_TSAN)
  void* handle = nullptr;
  // No kernel thread is in the fiber. Release by the core that left it pairs
  // with acquire by the one that enters it.
  std::atomic<bool> away{true};
#endif
};

// Before leaving a stack for [bottom, bottom + size). `saved` is null if the
// stack that is left will not be continued. `from` and `to` are null for the
// worker's own stack, whose fiber is `base`.
[[gnu::always_inline]] inline void StartSwitch(
    [[maybe_unused]] Saved* saved, [[maybe_unused]] Fiber* from,
    [[maybe_unused]] Fiber* to, [[maybe_unused]] Fiber& base,
    [[maybe_unused]] const void* bottom, [[maybe_unused]] size_t size) {
#if defined(YAMANOTE_ASAN)
  __sanitizer_start_switch_fiber(
      saved == nullptr ? nullptr : &saved->fake_stack, bottom, size);
#endif
#if defined(YAMANOTE_TSAN)
  // By way of the base, because a fiber must be left before another core enters
  // it, and two cores may swap threads: leaving must not wait for entering (the
  // same protocol as in context.h).
  if (from != nullptr) {
    __tsan_switch_to_fiber(base.handle, 0);
    from->away.store(true, std::memory_order_release);
  }
  if (to != nullptr) {
    while (!to->away.load(std::memory_order_acquire)) {
    }
    to->away.store(false, std::memory_order_relaxed);
    __tsan_switch_to_fiber(to->handle, 0);
  }
#endif
}

// First thing on the stack that was switched to; `saved` null on a new stack.
inline void FinishSwitch([[maybe_unused]] Saved* saved) {
#if defined(YAMANOTE_ASAN)
  __sanitizer_finish_switch_fiber(
      saved == nullptr ? nullptr : saved->fake_stack, nullptr, nullptr);
#endif
}

// Forgets what earlier, abandoned frames poisoned.
inline void ResetStack([[maybe_unused]] void* bottom,
                       [[maybe_unused]] size_t size) {
#if defined(YAMANOTE_ASAN)
  __asan_unpoison_memory_region(bottom, size);
#endif
}

// Makes `fiber` stand for the calling kernel thread's own stack.
inline void AdoptFiber([[maybe_unused]] Fiber& fiber) {
#if defined(YAMANOTE_TSAN)
  fiber.handle = __tsan_get_current_fiber();
#endif
}

// Makes `fiber` stand for a new stack, unless it does for this one already.
inline void CreateFiber([[maybe_unused]] Fiber& fiber) {
#if defined(YAMANOTE_TSAN)
  if (fiber.handle == nullptr) fiber.handle = __tsan_create_fiber(0);
#endif
}

inline void DestroyFiber([[maybe_unused]] Fiber& fiber) {
#if defined(YAMANOTE_TSAN)
  if (fiber.handle != nullptr) __tsan_destroy_fiber(fiber.handle);
#endif
}

}  // namespace yamanote::worker::sanitizer
