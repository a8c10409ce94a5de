// under_tsan.h - what is different with ThreadSanitizer.
//
// YAMANOTE_UNDER_TSAN: 1 if it is compiled in, else 0. It stands in front of locks and signal functions itself, and delivers signals
// only where a thread calls into it.

#pragma once

#if defined(__SANITIZE_THREAD__)
#define YAMANOTE_UNDER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define YAMANOTE_UNDER_TSAN 1
#endif
#endif

#if !defined(YAMANOTE_UNDER_TSAN)
#define YAMANOTE_UNDER_TSAN 0
#endif

// A function whose variables ThreadSanitizer does not watch: a signal's handler may come
// on a stack that is being left, when it takes the next user thread for the one that runs.
#if YAMANOTE_UNDER_TSAN
#define YAMANOTE_UNWATCHED __attribute__((no_sanitize("thread")))
#else
#define YAMANOTE_UNWATCHED
#endif
