// scx.h - an enclave on a stock kernel, by sched_ext (Linux 6.13 and later).
//
// The kernel's side are BPF programs (bpf/scx.bpf.c). They manage threads of the class
// SCHED_EXT alone, which Join() gives them; all else, the agents too, is of a higher class
// and preempts them. So an agent needs no core, and a core that others use is `busy`.
//
// If a thread that can run does not for `watchdog`, the kernel ejects the scheduler, and
// its own runs all threads. The same happens when the process of the agents ends, unless
// there are pins: then the scheduler stays, and the next ScxKernel with the same pins goes
// on with it, within the watchdog's time.
//
// Needs root, and a build with YAMANOTE_SCX; docs/native-scx.md says what is proven.
// Source: the kernel's Documentation/scheduler/sched-ext.rst.

#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "native/backend.h"
#include "native/kernel.h"

namespace yamanote::native {

struct ScxOptions {
  std::vector<int> cpus;  // The cores, in order. 1 .. 256, each below 256.
  uint32_t max_threads = 1024;                  // 1 .. 65536
  Duration watchdog = std::chrono::seconds(5);  // 1 ms .. 30 s
  // A folder in a BPF file system, /sys/fs/bpf/NAME; it need not exist. Empty: none.
  std::string pins;
  // How long to wait for another ScxKernel with these pins to go away.
  Duration patience = Duration::zero();
  // All queues are made with the scheduler: to add one later waits for RCU, and so for
  // threads that wait for the agents. How many; 0: two more than cores. 1 .. 512.
  uint32_t queues = 0;
  // How many messages each holds, at least: 1 .. 2^20.
  uint32_t queue_capacity = 16384;
  bool ticks = false;  // A message for each tick of a core.
  // An idling core takes what waits without being told, for `fast_slice`.
  bool fast_path = false;
  Duration fast_slice = std::chrono::milliseconds(1);
};

class ScxKernel : public Kernel {
 public:
  // Each says one thing that sched_ext needs and this machine or build has not; empty:
  // Create() can be expected to work. Needs no rights.
  static std::vector<std::string> Missing();

  // Errors: kInvalidArgument; kUnsupported: what Missing() says; kPermissionDenied;
  // kUnavailable: another scheduler is attached, or others have the pins; kInternal: the
  // kernel refused the programs, and why.
  static Result<std::unique_ptr<ScxKernel>> Create(const ScxOptions& options);

  // Ends the scheduler, unless there are pins.
  ~ScxKernel() override = default;

  // ---- For those who drive agents

  // Returns when `core`'s agent is to look: there are messages, or WakeAgent(). Or after
  // `most`. By that agent's thread. Also sees to it that who was sent to a core that a
  // higher class took at that moment comes back: no callback of the kernel's tells.
  virtual void Wait(CoreId core, Duration most) = 0;

  // Why the scheduler is gone; empty: it is not.
  virtual std::string Ended() const = 0;
  // Whether it is. Also after fork().
  virtual bool over() const = 0;

  // Whoever holds a copy of this keeps the scheduler.
  virtual int link_descriptor() const = 0;

  // What there has been since Create().
  virtual Backend::Counts counts() const = 0;

  // True if the pins were there: threads may be, too.
  virtual bool resumed() const = 0;

  // Removes the pins: the scheduler ends with this process.
  virtual void Unpin() = 0;

  // How many threads idling cores took by themselves.
  virtual uint64_t fast_served() const = 0;
};

// Gives a thread of this machine to the enclave; its children follow. Errors:
// kPermissionDenied, kNotFound, kUnsupported.
Result<void> JoinScx(pid_t tid);
// Takes it back.
Result<void> LeaveScx(pid_t tid);

}  // namespace yamanote::native
