// server_process.h - a server that runs as a child while it is measured.
//
// The child has its own process group, so Ctrl-C in the terminal reaches only
// the demo, which then stops the child in order; if the demo itself is killed,
// the kernel ends the child (not one that has changed its user). Everything the
// child writes to standard error is kept, to be shown if it fails.
//
// Not thread-safe: one thread starts, watches and stops it.

#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "yamanote/result.h"
#include "yamanote/time.h"

namespace yamanote::demo {

struct ServerCommand {
  std::string name;
  // The first is the program, looked up in PATH.
  std::vector<std::string> argv;
  std::vector<int> cpus;  // May run on these; empty: on all of ours.
  uint16_t port = 0;      // Of 127.0.0.1, where it will accept.
  // True: it prints a line that begins with "ready". False: it is ready when
  // its port accepts a connection.
  bool prints_ready = true;
};

class ServerProcess {
 public:
  // kNotFound if the program isn't there; kInternal if the kernel refuses.
  static Result<std::unique_ptr<ServerProcess>> Start(
      const ServerCommand& command);

  // As Stop().
  ~ServerProcess();
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  // Waits until it accepts requests. kUnavailable if it ended before, with its
  // standard error; kDeadlineExceeded after `timeout`; kCancelled as soon as
  // `cancelled` returns true (asked every 50 ms).
  Result<void> WaitReady(Duration timeout,
                         const std::function<bool()>& cancelled);

  const std::string& name() const { return name_; }

  // What it said when it was ready: "ready kv tcp 127.0.0.1:1234 ...", "" if it
  // prints no such line.
  const std::string& ready_line() const { return ready_line_; }

  // Ends it and everything in its process group, with SIGTERM and, after 3 s, with
  // SIGKILL. Returns the last whole line that it wrote to standard output after the
  // one that said it was ready, "" if none. Blocks until then.
  std::string Stop();

  // Returns how it ended, "" while it runs.
  std::string Ended();

  // The end of what it wrote to standard error, at most 4 KiB.
  std::string Errors() const;

 private:
  ServerProcess(std::string name, pid_t pid, int output, int errors,
                uint16_t port, bool prints_ready);
  void ReadOutput();

  const std::string name_;
  const pid_t pid_;
  const int output_;  // Read end of its standard output, non-blocking.
  const int errors_;  // A file in memory: its standard error.
  const uint16_t port_;
  const bool prints_ready_;
  // Of standard output, where it prints a ready line.
  std::string line_{};        // Not whole yet.
  std::string ready_line_{};  // "" until then.
  std::string last_line_{};   // After it.
};

// Returns a TCP port of 127.0.0.1 that nobody listens on now.
Result<uint16_t> FindFreePort();

// SIGINT, SIGTERM and SIGHUP, held back and asked for instead of handled, so
// that an interruption ends the demo in order. Create it before any thread.
class Interrupts {
 public:
  Interrupts();
  ~Interrupts();  // Takes what is pending, restores the mask.
  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;

  bool pending() const;  // Any thread.

 private:
  struct Mask;
  const std::unique_ptr<Mask> mask_;
};

}  // namespace yamanote::demo
