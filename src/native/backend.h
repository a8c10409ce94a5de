// backend.h - an enclave on this machine, as the program that runs it has it.
//
//   auto made = MakeBackend(BackendKind::kAuto, {.cpus = {1}});
//   Backend& backend = *made->backend;
//   auto driver = Driver::Start(backend.kernel(), backend.host(), agents);
//   auto joined = backend.Add(pid);  // Its threads, and whatever they fork.
//
// Agents see kernel(), their threads host(). What joins and who leaves is here. When a
// back-end goes, and when its process dies, all threads have what they had: a guardian, a
// process of its own, sees to it.
//
// To add one: derive from it, and name it in MakeBackend().
//
// Thread safety: Add() by one thread at a time, the rest by any.

#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "native/driver.h"
#include "native/kernel.h"

namespace yamanote::native {

class Backend {
 public:
  struct Joined {
    uint32_t threads = 0;
    std::vector<std::string> refused;  // A line for each: who and why.
  };
  struct Counts {
    uint64_t messages = 0;  // Received.
    uint64_t lost_messages = 0;
    uint64_t results[kCommitResults] = {};
  };

  // When it goes all threads leave; no driver may be there then.
  virtual ~Backend() = default;

  // As ToString() of its kind. Constant, as are these two.
  virtual std::string_view name() const = 0;
  virtual Kernel& kernel() = 0;
  virtual AgentHost& host() = 0;

  // All threads of process `pid` join, and those that any of them forks from then on. A
  // thread with a class of its own (real-time, deadline) is refused and left alone; so
  // is one that may run on none of the enclave's CPUs. Errors: kNotFound;
  // kInvalidArgument: it is this process; kResourceExhausted: no room for more threads.
  virtual Result<Joined> Add(pid_t pid) = 0;

  // The enclave's, now.
  virtual uint32_t threads() const = 0;
  virtual Counts counts() const = 0;
  // Its process.
  virtual pid_t guardian() const = 0;
};

enum class BackendKind : uint8_t {
  kAuto,     // scx where it can be had, else tracing.
  kScx,      // sched_ext: scx.h
  kTracing,  // tracepoints and priorities: tracing.h
};
std::string_view ToString(BackendKind kind);

struct BackendOptions {
  std::vector<unsigned> cpus;  // By core; each once.
  uint32_t max_threads = 4096;
  // How long a thread that can run may be on no CPU; kNoPreemption: for ever.
  Duration watchdog = std::chrono::seconds(5);
};

struct MadeBackend {
  std::unique_ptr<Backend> backend;
  // kAuto has taken tracing: why not scx. Otherwise empty.
  std::string why_not_scx;
};

// Errors name what is missing and the remedy: kInvalidArgument, kPermissionDenied,
// kUnsupported, kResourceExhausted; kUnavailable: a CPU or the scheduler is another's.
Result<MadeBackend> MakeBackend(BackendKind kind,
                                const BackendOptions& options);

}  // namespace yamanote::native
