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

#include "native/driver.h"
#include "native/kernel.h"

namespace yamanote::native {

class TracingKernel : public Kernel, public AgentHost {
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

  struct Joined {
    uint32_t threads = 0;
    std::vector<std::string> refused;  // A line for each: who and why.
  };

  struct Counts {
    uint64_t messages = 0;  // Received.
    uint64_t lost_messages = 0;
    uint64_t results[kCommitResults] = {};
  };

  // Changes nothing on the machine. Errors name what is missing and the remedy:
  // kInvalidArgument, kPermissionDenied, kUnsupported, kResourceExhausted; kUnavailable:
  // a CPU is another enclave's.
  static Result<std::unique_ptr<TracingKernel>> Create(const Options& options);
  // When it goes all threads leave; no driver may be there then.

  // All threads of process `pid` join, and those that any of them forks from then on. A
  // thread with a class of its own (real-time, deadline) is refused and left alone; so
  // is one that may run on none of the enclave's CPUs. Errors: kNotFound;
  // kInvalidArgument: it is this process; kResourceExhausted: no room for more threads.
  virtual Result<Joined> Add(pid_t pid) = 0;
  // All threads of `pid` leave, with what they had. Returns how many.
  virtual unsigned Remove(pid_t pid) = 0;

  // The enclave's, now.
  virtual uint32_t threads() const = 0;
  virtual Counts counts() const = 0;
  // Its process.
  virtual pid_t guardian() const = 0;
};

}  // namespace yamanote::native
