// check.cc - prints a failed check and aborts; safe on a task's small stack.

#include "base/check.h"

#include <unistd.h>

#include <cstdlib>
#include <cstring>

namespace yamanote::base {
namespace {

void Write(const char* text) {
  const ssize_t ignored = write(STDERR_FILENO, text, std::strlen(text));
  static_cast<void>(ignored);
}

}  // namespace

void CheckFailed(const char* file, int line, const char* condition,
                 const char* message) noexcept {
  char digits[12];
  char* end = digits + sizeof(digits) - 1;
  *end = '\0';
  do {
    *--end = static_cast<char>('0' + line % 10);
    line /= 10;
  } while (line != 0);
  Write(file);
  Write(":");
  Write(end);
  Write(": check failed: ");
  Write(condition);
  Write(": ");
  Write(message);
  Write("\n");
  std::abort();
}

}  // namespace yamanote::base
