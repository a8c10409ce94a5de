// neighbours.h - who else is there: a batch program that takes every cycle it can get, and
// the daemon.
//
// The batch program is a real one: it is executed, has a thread for each CPU, and counts
// how much work it gets done. `yamanote bench cores-batch` is what runs there.

#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "tools/bench/cores/child.h"
#include "yamanote/result.h"

namespace yamanote::bench {

// How the batch program comes to its cycles.
enum class Batch : uint8_t {
  kPlain,       // As any program.
  kNice,        // nice 19.
  kIdle,        // SCHED_IDLE.
  kBestEffort,  // `yamanote run --best-effort`.
};

inline constexpr unsigned kMostBatchThreads = 256;

struct alignas(64) BatchCount {
  std::atomic<uint64_t> units;  // Of some 10 us. Relaxed: a count.
};

class BatchProgram {
 public:
  // `socket`: the arbiter's, for kBestEffort. Errors: it cannot be started.
  static Result<std::unique_ptr<BatchProgram>> Start(
      Batch how, const std::vector<int>& cpus, const std::string& socket);

  uint64_t Units() const;

 private:
  BatchProgram() = default;
  int descriptor_ = -1;
  const BatchCount* counts_ = nullptr;
  Child child_;

 public:
  ~BatchProgram();
};

// The program: `threads` of them count in the file `counts` until it is killed. Returns an
// exit status only if it cannot.
int RunBatchProgram(unsigned threads, const std::string& counts);

class Arbitration {
 public:
  // Starts a daemon that hands out `cpus`, at a socket of its own in a new folder. It
  // polls on `poll_cpu`, which is none of those, or is driven by events (-1).
  static Result<std::unique_ptr<Arbitration>> Start(
      const std::vector<int>& cpus, int poll_cpu);
  ~Arbitration();

  const std::string& socket() const { return socket_; }
  Duration Cpu() const { return child_.Cpu(); }

 private:
  Arbitration() = default;
  std::string folder_;
  std::string socket_;
  Child child_;
};

}  // namespace yamanote::bench
