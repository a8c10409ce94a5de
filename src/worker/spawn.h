// spawn.h - how the other rooms start work on the runtime's cores.
//
// A request and a user thread are the same thing here: a UserThread that gets a
// stack when a core first runs it and gives it back when it finishes.

#pragma once

#include <cstdint>

#include "yamanote/result.h"
#include "yamanote/task.h"

namespace yamanote::io {
class Poller;
}

namespace yamanote::worker {

struct SpawnOptions {
  const char* name = "";  // Static, or outlives the thread.
  ClassId request_class = 0;
  uint64_t flow = 0;  // Hash that chooses the core where placement hashes.
  Instant arrival{};  // Zero: now, if the order wants to know.
  Instant deadline = kNever;
};

// Runs `entry(argument)` on some core, detached. kResourceExhausted if
// max_threads are alive; then nothing was started. Any thread of a process with
// a runtime, event handlers of io::Poller included.
Result<void> Spawn(const SpawnOptions& options, void (*entry)(void*),
                   void* argument);

// The core that the caller runs on; kNoCore on a plain kernel thread. The
// answer of a user thread is stale after its next scheduling point.
CoreId CurrentCore();

// A number that stays the same while the caller, a user thread, is on its core
// without a break; 0 on a plain kernel thread.
uint64_t CurrentStint();

// The poller of `core`, where descriptors that it serves are added; it lives as
// long as the runtime. Any thread of a process with a runtime.
io::Poller& PollerOf(CoreId core);

// A voluntary point: gives way if the slice is over and something waits. Costs
// a clock read if the thread has a slice, nothing measurable else.
void CheckPreempt();

}  // namespace yamanote::worker
