// tracing.h - an enclave on any kernel with BPF: tracepoints tell, priorities decide.
//
// BPF programs on the scheduler's tracepoints (bpf/tracing.bpf.c) write messages and
// status words. A committed thread gets a low real-time priority and its core's CPU; all
// others keep their class. So what a commit means is *the* thread of that CPU, above all
// ordinary ones; others may have the CPU when it blocks, until the agent has chosen again,
// and for the share that the kernel sets aside for ordinary threads (5% of each second).
// docs/native-tracing.md says what else is coarser, and by how much.
//
//   auto kernel = TracingKernel::Create({.cpus = {1}});
//   auto driver = Driver::Start(**kernel, **kernel, agents);
//   auto joined = (*kernel)->Add(pid);  // Its threads, and whatever they fork.
//
// What a thread had - class, nice, affinity - is kept where the guardian (guardian.h)
// finds it before anything is changed, and comes back when the thread leaves, when this
// object goes, and when this process dies.
//
// Never reported: yields (a thread that yields goes on), ticks, affinities and weights
// that change, and cores that a higher class takes. What a thread changes itself, its
// affinity, its class or its nice value, is noticed when it is committed next, and kept.
//
// Thread safety: as Kernel's; Add(), Remove() and Ended() by any thread.

#pragma once

#include <sys/types.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "native/backend.h"
#include "native/driver.h"
#include "native/kernel.h"

namespace yamanote::native {

class TracingKernel : public Kernel, public AgentHost, public Backend {
 public:
  struct Options {
    // The enclave's, by core; each once, below 1024.
    std::vector<unsigned> cpus;
    uint32_t max_threads = 4096;  // 1 .. 65536
    // The committed threads'. Agents have one more, the guardian two: 1 .. 97.
    unsigned priority = 1;
    // How long a thread that can run may be on no CPU; kNoPreemption: for ever.
    Duration watchdog = std::chrono::seconds(5);
    // How long an agent may be awake without a sleep or a new pass.
    Duration agent_limit = std::chrono::milliseconds(500);
  };

  // Changes nothing on the machine. Errors name what is missing and the remedy:
  // kInvalidArgument, kPermissionDenied, kUnsupported, kResourceExhausted; kUnavailable:
  // a CPU is another enclave's.
  static Result<std::unique_ptr<TracingKernel>> Create(const Options& options);
  // When it goes all threads leave; no driver may be there then.

  std::string_view name() const override { return "tracing"; }
  Kernel& kernel() override { return *this; }
  AgentHost& host() override { return *this; }

  // All threads of `pid` leave, with what they had. Returns how many.
  virtual unsigned Remove(pid_t pid) = 0;
};

}  // namespace yamanote::native
