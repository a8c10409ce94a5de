// backoff.cc - yields, then sleeps.

#include "base/backoff.h"

#include <sched.h>
#include <time.h>

namespace yamanote::base {

void Backoff::GiveWay() {
  if (yields_ < kYields) {
    ++yields_;
    sched_yield();
    return;
  }
  const timespec pause{.tv_sec = 0, .tv_nsec = 50'000};
  nanosleep(&pause, nullptr);
}

}  // namespace yamanote::base
