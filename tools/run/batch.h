// batch.h - an unmodified program as a best-effort application.
//
// Its threads have SCHED_IDLE, so that they run where nobody else wants to, and may run
// only on the cores that the arbiter has granted. Threads and processes that it starts
// inherit both. The program knows nothing of it.

#pragma once

#include <sys/types.h>

#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "arbiter/client.h"
#include "yamanote/result.h"
#include "yamanote/time.h"

namespace yamanote::tools {

// Threads of `root` and of all processes that it has started, as far as they are there.
std::vector<pid_t> ThreadsBelow(pid_t root);

// Has `root` and all below run on `cpus` alone: again and again, until no new thread is
// found. Those of other users, and those that end meanwhile, are passed over.
void MoveAll(pid_t root, std::span<const int> cpus);

// The CPUs that were granted at one of the looks of the last `leave_after`.
class LastingCores {
 public:
  explicit LastingCores(Duration leave_after) : leave_after_(leave_after) {}
  // In order. `now` never goes back.
  std::vector<int> Look(std::span<const int> granted, Instant now);

 private:
  const Duration leave_after_;
  std::map<int, Instant> last_;
};

// Runs `arguments` until it ends, and moves it as `client` is granted cores. Signals that
// end this process are handed on. Returns its exit status, 128 + N if a signal N ended it.
// kNotFound: there is no such program.
Result<int> RunBatch(arbiter::Client& client,
                     const std::vector<std::string>& arguments);

}  // namespace yamanote::tools
