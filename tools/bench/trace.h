// trace.h - what requests that burn time see of the core they run on.
//
// A request burns its service time in steps of some 20 ns. Each step reads the
// clock and compares with the last step on the same core: its own (the time
// between counts as service), another request's (it was preempted and now goes
// on, or begins), or its own long ago (the kernel took the core; that is not
// service, and whoever was in the system then is tagged).
//
// What steps write down has its memory before the run: a page fault would look
// like a stall.

#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/cpu.h"
#include "yamanote/task.h"
#include "yamanote/time.h"

namespace yamanote::bench {

struct Interval {
  Instant from;
  Instant to;
};

// One time on a core that a preemption ended.
struct Preempted {
  Instant begun;
  Instant stopped;
  Duration ran;  // Without what was stolen meanwhile.
};

class Trace;

// One request's progress; on its own stack.
class Stint {
 public:
  Stint(Trace& trace, uint32_t service_ns) : trace_(trace), left_(service_ns) {}

  // One step; false when the service time is burned or the run was abandoned. On a user thread that
  // nothing interrupts meanwhile: not compiled with probes.
  bool Step();
  // The request ends; the time is that of its last step.
  Instant Finish();

 private:
  friend class Trace;

  Trace& trace_;
  Duration left_;
  CoreId core_ = kNoCore;
  uint64_t number_ = 0;  // worker::CurrentStint().
  Instant last_{};
  Instant begun_{};     // This time on a core.
  Duration stolen_{0};  // Since then.
};

class Trace {
 public:
  // A gap from which on the time was not the request's: longer than any cache
  // miss, shorter than an interrupt here.
  static constexpr Duration kStall = std::chrono::microseconds(2);
  // What a core writes down; later ones are left out. 26 MiB.
  static constexpr size_t kMostPreempted = 1 << 20;
  static constexpr size_t kMostStolen = 1 << 17;

  // One core's. Written by the requests on it, one at a time.
  struct alignas(base::kNoSharing) Core {
    const Stint* occupant = nullptr;  // Unfinished, on the core or preempted.
    Instant last{};
    std::vector<Preempted> preempted;
    Duration lost{0};  // From the last step of a preempted request to the
                       // first of the next one, over so many times.
    uint64_t losses = 0;
    Duration burned{0};  // In so many steps.
    uint64_t steps = 0;
    std::vector<Interval> stolen;
  };

  explicit Trace(unsigned cores);

  Core& core(CoreId core) { return cores_[core]; }
  const std::vector<Core>& cores() const { return cores_; }

  // Requests that have not ended end at their next step, without a result. Any
  // thread.
  void Abandon() { abandoned_.store(true, std::memory_order_relaxed); }
  // Relaxed, here and above: a step or two more do no harm.
  bool abandoned() const { return abandoned_.load(std::memory_order_relaxed); }

 private:
  std::atomic<bool> abandoned_{false};
  std::vector<Core> cores_;
};

// Burns `service_ns` in the calling user thread, with a probe at every step;
// returns when that was done.
Instant Burn(Trace& trace, uint32_t service_ns);

// A fixed amount of work: `steps` steps of a nanosecond or two; ends early when the
// run is abandoned. With a probe at every step, and without.
void Work(const Trace& trace, uint64_t steps);
void BareWork(const Trace& trace, uint64_t steps);

}  // namespace yamanote::bench
