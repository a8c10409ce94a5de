// forked.cc - descriptors of a forked process.

#include "native/forked.h"

#include <poll.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

namespace yamanote::native {

bool IsReadable(int descriptor, int timeout_ms) {
  pollfd poll_for{.fd = descriptor, .events = POLLIN, .revents = 0};
  return poll(&poll_for, 1, timeout_ms) > 0;
}

void CloseOthers(const std::vector<int>& kept) {
  unsigned from = 0;
  const auto close_to = [&](unsigned to) {
    if (from > to) return;
#ifdef SYS_close_range
    if (syscall(SYS_close_range, from, to, 0) == 0) return;
#endif
    rlimit limit{};
    getrlimit(RLIMIT_NOFILE, &limit);
    const auto last = static_cast<unsigned>(
        std::min<rlim_t>(limit.rlim_cur, rlim_t{1} << 20));
    for (unsigned i = from; i <= to && i < last; ++i)
      close(static_cast<int>(i));
  };
  for (const int descriptor : kept) {
    const auto number = static_cast<unsigned>(descriptor);
    if (number > 0) close_to(number - 1);
    from = number + 1;
  }
  close_to(~0U);
}

}  // namespace yamanote::native
