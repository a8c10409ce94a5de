// under_tsan.h - YAMANOTE_UNDER_TSAN: 1 if ThreadSanitizer is compiled in, else 0.
// It stands in front of locks and signal functions itself, and delivers signals
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
