// daemon.h - the arbiter at work: when there is a pass, and who drives it.
//
//   kEvents    no core is spent: a pass when an application kicks, comes or goes, and
//              every `idle_interval` while cores that are nobody's home are in use.
//   kPolling   a pass every `interval`, on a CPU of its own.
//
// One thread, the one that calls Run().

#pragma once

#include <memory>
#include <string_view>

#include "arbiter/arbiter.h"
#include "arbiter/memory.h"
#include "arbiter/server.h"

namespace yamanote::arbiter {

struct DaemonOptions {
  enum class Mode : uint8_t { kEvents, kPolling };

  ArbiterOptions arbiter;
  ServerOptions server;
  Mode mode = Mode::kEvents;
  int poll_cpu = -1;  // kPolling; -1: wherever the thread is.
  Duration interval = std::chrono::microseconds(5);
  // kEvents: between two passes, however often applications kick.
  Duration least_gap = std::chrono::microseconds(20);
  Duration idle_interval = std::chrono::milliseconds(1);
  // Run() returns when it is readable.
  int end = -1;
};

std::string_view ToString(DaemonOptions::Mode mode);

class Daemon {
 public:
  // Errors as Server::Create().
  static Result<std::unique_ptr<Daemon>> Create(DaemonOptions options,
                                                Kernel& kernel);

  // Until the end. Applications keep what they hold.
  void Run();

  const Arbiter& arbiter() const { return *arbiter_; }

 private:
  Daemon(DaemonOptions&& options, Kernel& kernel)
      : options_(std::move(options)), kernel_(kernel) {}
  void RunByEvents();
  void RunPolling();

  DaemonOptions options_;
  Kernel& kernel_;
  SharedMemory board_;
  SharedMemory handover_;
  std::unique_ptr<Arbiter> arbiter_;
  std::unique_ptr<Server> server_;  // Before the arbiter goes.
};

}  // namespace yamanote::arbiter
