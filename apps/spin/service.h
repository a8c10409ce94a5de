// service.h - the spin service: burns a core for as long as each request asks.
//
// Use it to measure a scheduler: the service time is known, so slowdown is too.
// The time is wall time on the core: what others run while a request is preempted
// is not counted, what the kernel or the hypervisor takes is. The generator's
// samples show both as latency.

#pragma once

#include "net/spin.h"
#include "yamanote/service.h"

namespace yamanote::apps {

class SpinService final : public Service {
 public:
  void Handle(const Request& request, Reply& reply) override;

  // Whether its loop was compiled with probes.
  static bool HasProbes();
};

}  // namespace yamanote::apps
