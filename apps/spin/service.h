// service.h - the spin service: burns a core for as long as each request asks.
//
// Use it to measure a scheduler: the service time is known, so slowdown is too.
// The time is wall time on the core, so a request that gives way to others, or
// whose core the hypervisor takes away, has burned less than it asked for; the
// generator's samples show it as latency either way.

#pragma once

#include "net/spin.h"
#include "yamanote/service.h"

namespace yamanote::apps {

class SpinService final : public Service {
 public:
  void Handle(const Request& request, Reply& reply) override;
};

}  // namespace yamanote::apps
