// service.cc - burns the time in slices of a microsecond.
//
// Between slices it asks whether it must give way. Time that others ran in
// between is not counted as burned: a jump of the clock across CheckPreempt() is
// left out.

#include "apps/spin/service.h"

#include <algorithm>

#include "base/cpu.h"
#include "yamanote/thread.h"

namespace yamanote::apps {
namespace {

constexpr Duration kSlice = std::chrono::microseconds(1);

// Burns `time` by the clock.
void Burn(Duration time) {
  Instant now = Clock::now();
  Duration left = time;
  while (left > Duration::zero()) {
    const Instant until = now + std::min(left, kSlice);
    const Instant begin = now;
    while ((now = Clock::now()) < until) base::Pause();
    left -= now - begin;
    if (left <= Duration::zero()) return;
    if (CheckPreempt()) now = Clock::now();
  }
}

}  // namespace

void SpinService::Handle(const Request& request, Reply& reply) {
  const auto message = net::DecodeSpin(request.bytes);
  if (!message) return;  // SpinProtocol lets nothing else through.
  Burn(Duration(static_cast<int64_t>(message->service_ns)));
  reply.Append(request.bytes);
}

}  // namespace yamanote::apps
