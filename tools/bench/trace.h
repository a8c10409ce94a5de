// trace.h - what requests that burn time see of the core they run on.
//
// A request burns its service time in steps of some 20 ns. Each step reads the
// clock and compares with the last step on the same core: its own (the time
// between counts as service), another request's (it was preempted and now goes
// on, or begins), or its own long ago (the kernel took the core; that is not
// service, and whoever was in the system then is tagged).

#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/cpu.h"
#include "base/histogram.h"
#include "yamanote/task.h"
#include "yamanote/time.h"

namespace yamanote::bench {

struct Interval {
  Instant from;
  Instant to;
};

class Trace;

// One request's progress; on its own stack.
class Stint {
 public:
  Stint(Trace& trace, uint32_t service_ns) : trace_(trace), left_(service_ns) {}

  // One step; false when the service time is burned. On a user thread that
  // nothing interrupts meanwhile: not compiled with probes.
  bool Step();
  // The request ends; the time is that of its last step.
  Instant Finish();

 private:
  friend class Trace;

  Trace& trace_;
  Duration left_;
  CoreId core_ = kNoCore;
  Instant last_{};
  Instant begun_{};  // This time on a core.
};

class Trace {
 public:
  // A gap from which on the time was not the request's: longer than any cache
  // miss, shorter than an interrupt here.
  static constexpr Duration kStall = std::chrono::microseconds(2);

  // One core's. Written by the requests on it, one at a time.
  struct alignas(base::kNoSharing) Core {
    const Stint* occupant = nullptr;  // Unfinished, on the core or preempted.
    Instant last{};
    base::Histogram stints{};  // Of requests that were preempted, ns.
    Duration lost{0};  // From the last step of a preempted request to the
                       // first of the next one.
    Duration burned{0};
    std::vector<Interval> stolen;
  };

  explicit Trace(unsigned cores) : cores_(cores) {}

  Core& core(CoreId core) { return cores_[core]; }
  const std::vector<Core>& cores() const { return cores_; }

 private:
  std::vector<Core> cores_;
};

// Burns `service_ns` in the calling user thread, with a probe at every step;
// returns when that was done.
Instant Burn(Trace& trace, uint32_t service_ns);

}  // namespace yamanote::bench
