// service.cc - burns the time that a request asks for.
//
// Compiled with probes it may be preempted at every turn of the loop; without, it
// asks every microsecond whether it must give way. Time that others ran in between
// is not counted as burned.

#include "apps/spin/service.h"

#include "base/cpu.h"
#include "worker/spawn.h"
#include "yamanote/thread.h"

namespace yamanote::apps {
namespace {

#if !defined(YAMANOTE_PREEMPTIBLE)
constexpr Duration kBetweenChecks = std::chrono::microseconds(1);
#endif

void Burn(Duration time) {
  Instant last = Clock::now();
  uint64_t stint = worker::CurrentStint();
#if !defined(YAMANOTE_PREEMPTIBLE)
  Instant check = last + kBetweenChecks;
#endif
  while (time > Duration::zero()) {
    base::Pause();
    const Instant now = Clock::now();
    const uint64_t current = worker::CurrentStint();
    if (current == stint) time -= now - last;
    stint = current;
    last = now;
#if !defined(YAMANOTE_PREEMPTIBLE)
    if (now >= check) {
      CheckPreempt();
      check = now + kBetweenChecks;
    }
#endif
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
