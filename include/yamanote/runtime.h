// runtime.h - starts the workers that run user threads and requests.
//
//   auto runtime = yamanote::Runtime::Create({.cores = 2});
//   if (!runtime) return tl::unexpected(runtime.error());
//   (*runtime)->Run([] { /* user threads, sockets, a server */ });
//
// It schedules as the preset `yamanote` does; another one, or parts of one:
//
//   yamanote::RuntimeOptions options{.cores = 2};
//   options.scheduling = yamanote::FindPreset("shinjuku").value();
//   options.scheduling.slice = std::chrono::microseconds(10);
//
// A process has at most one runtime at a time.

#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "yamanote/mechanism.h"
#include "yamanote/result.h"
#include "yamanote/scheduling.h"
#include "yamanote/time.h"

namespace yamanote {

// Under an arbiter (`yamanoted`, docs/arbiter.md) the cores are its: it says which they
// are, and the runtime has a worker for each, of which only those run tasks that it holds.
struct ArbiterOptions {
  // The arbiter's socket. Empty: there is none, the cores are the runtime's own; but the
  // environment may name one: YAMANOTE_ARBITER, and with it YAMANOTE_GUARANTEED,
  // YAMANOTE_BURST and YAMANOTE_NAME (set by `yamanote run`).
  std::string socket = {};
  // For `yamanote apps`. Empty: the program's name.
  std::string name = {};
  // Cores that are its whenever it has work; >= 1.
  unsigned guaranteed = 1;
  // It gets so many more as its scheduling's `allocation` wants them.
  unsigned burst = kMaxCores;
  // Whether a core beyond `guaranteed` is kept for it when it has nothing to do there, while
  // nobody else needs it (docs/adr/0031-kept-cores.md). False: it asks for each again.
  bool keep = true;
};

struct RuntimeOptions {
  // Operating-system CPU numbers, one worker each, pinned. Empty: the first
  // `cores` CPUs that the process may use.
  std::vector<int> cpus = {};
  // Workers if `cpus` is empty. 0: as many as the process may use. 1 .. 256.
  unsigned cores = 0;
  // If it names a socket, `cpus`, `cores` and `pin` must not be set.
  ArbiterOptions arbiter = {};
  // False: workers are not pinned; the kernel moves them.
  bool pin = true;
  // Who puts a Scheduling of its own here sets every part of it: that has no
  // slice, for one, unless it is given one.
  Scheduling scheduling = DefaultScheduling();
  // Usable bytes of a user thread's stack. 16 KiB .. 64 MiB.
  size_t stack_bytes = 64 * 1024;
  // User threads alive at a time; Spawn beyond is refused, at the latest when
  // there are 64 more for each core. 1 .. 16 Mi.
  size_t max_threads = 4 * 1024 * 1024;
  // How long an idle worker polls before it parks. 0: parks at once.
  Duration spin = std::chrono::microseconds(20);
  // What makes a task give way when its slice is over. Resolved in
  // Runtime::options(); kInvalidArgument if this machine or program has no such.
  // kAuto may come to kProbe in a program without probes: Server::Start() says so
  // on standard error. kNone, or kProbe for calls of Probe() alone, keeps it quiet.
  Mechanism preemption = Mechanism::kAuto;
  // A task that holds preemption off for longer while others wait is reported to
  // standard error, with its stack. 0: none is.
  Duration watchdog = std::chrono::milliseconds(100);
};

// Counts since the start, summed over workers.
struct RuntimeStats {
  uint64_t switches = 0;      // Tasks put on a core.
  uint64_t steals = 0;        // Tasks taken from another core's domain.
  uint64_t parks = 0;         // Times a worker gave its core to the kernel.
  uint64_t wakes = 0;         // Times a parked worker was woken.
  uint64_t yields = 0;        // Times a task gave way and went on waiting.
  uint64_t slices_ended = 0;  // Of those, because the slice was over.
  uint64_t preemptions = 0;   // Slices ended at a probe that was not voluntary.
  uint64_t spawned = 0;       // User threads and requests.
  uint64_t grants = 0;        // Times an arbiter gave it a core.
  uint64_t held_off = 0;      // Times a task held preemption off for too long.
  Duration adaptive_slice{0};  // The slice now; 0 if it is fixed.
};

class Runtime {
 public:
  // Starts the workers. kInvalidArgument names the option; kUnavailable if the
  // process has a runtime already.
  static Result<std::unique_ptr<Runtime>> Create(RuntimeOptions options);

  // Requires: every user thread has finished or is detached and parked forever.
  ~Runtime();
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  // Runs `main` as a user thread and returns when it has returned. Called from
  // a plain kernel thread.
  void Run(std::function<void()> main);

  unsigned cores() const;
  // In use; kNone also where the scheduling has no slices.
  Mechanism mechanism() const;
  RuntimeStats stats() const;  // Any thread.
  const RuntimeOptions& options() const;

  // Returns the process's runtime, nullptr if there is none. Any thread.
  static Runtime* Current();

  class Impl;
  Impl& impl() { return *impl_; }

 private:
  explicit Runtime(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace yamanote
