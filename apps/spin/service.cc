// service.cc - burns the time that a request asks for.
//
// Compiled with probes it may be preempted at every turn of the loop. Every
// microsecond it asks by itself whether it must give way, which serves where no
// other core polls and keeps time. What others run in between is not counted.

#include "apps/spin/service.h"

#include "base/cpu.h"
#include "worker/spawn.h"
#include "yamanote/thread.h"

namespace yamanote::apps {
namespace {

constexpr Duration kBetweenChecks = std::chrono::microseconds(1);

void Burn(Duration time) {
  Instant last = Clock::now();
  uint64_t stint = worker::CurrentStint();
  Instant check = last + kBetweenChecks;
  while (time > Duration::zero()) {
    base::Pause();
    const Instant now = Clock::now();
    const uint64_t current = worker::CurrentStint();
    if (current == stint) time -= now - last;
    stint = current;
    last = now;
    if (now >= check) {
      CheckPreempt();
      check = now + kBetweenChecks;
    }
  }
}

}  // namespace

bool SpinService::HasProbes() {
#if defined(YAMANOTE_PREEMPTIBLE)
  return true;
#else
  return false;
#endif
}

void SpinService::Handle(const Request& request, Reply& reply) {
  const auto message = net::DecodeSpin(request.bytes);
  if (!message) return;  // SpinProtocol lets nothing else through.
  Burn(Duration(static_cast<int64_t>(message->service_ns)));
  reply.Append(request.bytes);
}

}  // namespace yamanote::apps
