// kernel.h - what the arbiter asks of the system; tests answer in its place.
//
// All calls from the arbiter's one thread. None waits.

#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <span>

#include "yamanote/result.h"
#include "yamanote/time.h"

namespace yamanote::arbiter {

// A process that is not mistaken for a later one of the same number: both descriptors
// stay with the one that they were opened for.
class Process {
 public:
  Process() = default;
  // Of a process that is alive and belongs to `uid`.
  static Result<Process> Open(pid_t pid, uid_t uid);
  Process(Process&& other) noexcept { *this = std::move(other); }
  Process& operator=(Process&& other) noexcept;
  ~Process();

  pid_t pid = 0;
  uid_t uid = 0;
  int descriptor = -1;  // pidfd: readable when it has ended.
  int folder = -1;      // /proc/PID
};

// kBeneath: SCHED_IDLE, so that any other thread of the core goes first, at once.
enum class ThreadClass : uint8_t { kUnknown, kNormal, kBeneath };

class Kernel {
 public:
  virtual ~Kernel() = default;

  // CLOCK_MONOTONIC, which all processes share.
  virtual Duration Now() = 0;
  // Whoever waits on `word`, in any process.
  virtual void Wake(const std::atomic<uint32_t>& word) = 0;

  // Whether `tid` is a thread of `process`, which is alive.
  virtual bool Has(const Process& process, int tid) = 0;
  // Each is about a thread of `process`. False: there is none such, or the system
  // refuses.
  virtual bool Signal(const Process& process, int tid) = 0;
  virtual bool SetClass(const Process& process, int tid, ThreadClass which) = 0;
  virtual bool SetCpus(const Process& process, int tid,
                       std::span<const int> cpus) = 0;
  // Whether SetClass() leads back from kBeneath, too: it takes CAP_SYS_NICE.
  virtual bool Restores() = 0;
};

class Linux : public Kernel {
 public:
  Duration Now() override;
  void Wake(const std::atomic<uint32_t>& word) override;
  bool Has(const Process& process, int tid) override;
  bool Signal(const Process& process, int tid) override;
  bool SetClass(const Process& process, int tid, ThreadClass which) override;
  bool SetCpus(const Process& process, int tid,
               std::span<const int> cpus) override;
  bool Restores() override;
};

}  // namespace yamanote::arbiter
