// check.h - assertions that stay on in release builds.
//
// CHECK is for bugs: a broken invariant prints file, line, condition and values
// and aborts. What a caller can act on returns a Result instead.

#pragma once

namespace yamanote::base {

// Prints the failure to standard error without allocating, and aborts.
[[noreturn]] void CheckFailed(const char* file, int line, const char* condition,
                              const char* message) noexcept;

}  // namespace yamanote::base

// Aborts with `message` (a string literal) unless `condition` holds.
#define YAMANOTE_CHECK(condition, message)                                    \
  do {                                                                        \
    if (__builtin_expect(!(condition), 0)) {                                  \
      ::yamanote::base::CheckFailed(__FILE__, __LINE__, #condition, message); \
    }                                                                         \
  } while (0)
