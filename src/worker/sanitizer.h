// sanitizer.h - tells ASan and TSan about stack switches, so that programs that
// use user threads can be sanitised. Empty in other builds.
//
// ThreadSanitizer sees a stack as a fiber. A fiber belongs to a stack, not to a
// thread: threads that run one after another on one stack are ordered anyway.

#pragma once

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

// Before leaving a stack for [bottom, bottom + size) and `fiber`. `saved` is
// null if the stack that is left will not be continued.
inline void StartSwitch([[maybe_unused]] Saved* saved, [[maybe_unused]] void* fiber,
                        [[maybe_unused]] const void* bottom, [[maybe_unused]] size_t size) {
#if defined(YAMANOTE_ASAN)
  __sanitizer_start_switch_fiber(saved == nullptr ? nullptr : &saved->fake_stack, bottom, size);
#endif
#if defined(YAMANOTE_TSAN)
  __tsan_switch_to_fiber(fiber, 0);
#endif
}

// First thing on the stack that was switched to; `saved` null on a new stack.
inline void FinishSwitch([[maybe_unused]] Saved* saved) {
#if defined(YAMANOTE_ASAN)
  __sanitizer_finish_switch_fiber(saved == nullptr ? nullptr : saved->fake_stack, nullptr,
                                  nullptr);
#endif
}

// Forgets what earlier, abandoned frames poisoned.
inline void ResetStack([[maybe_unused]] void* bottom, [[maybe_unused]] size_t size) {
#if defined(YAMANOTE_ASAN)
  __asan_unpoison_memory_region(bottom, size);
#endif
}

// Returns the handle of the calling kernel thread's own stack.
inline void* CurrentFiber() {
#if defined(YAMANOTE_TSAN)
  return __tsan_get_current_fiber();
#else
  return nullptr;
#endif
}

inline void* CreateFiber() {
#if defined(YAMANOTE_TSAN)
  return __tsan_create_fiber(0);
#else
  return nullptr;
#endif
}

inline void DestroyFiber([[maybe_unused]] void* fiber) {
#if defined(YAMANOTE_TSAN)
  if (fiber != nullptr) __tsan_destroy_fiber(fiber);
#endif
}

}  // namespace yamanote::worker::sanitizer
