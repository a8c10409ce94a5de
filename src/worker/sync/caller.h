// caller.h - who calls: the identity and the local slot of the calling thread.
//
// Both work for user threads and for plain kernel threads (event handlers of a
// poller run as their worker's kernel thread). Neither is inline: the compiler
// could keep a thread-local's address across a switch to another core.

#pragma once

#include <cstdint>

namespace yamanote::worker {

class TaskLocals;

// Returns where the calling thread's task-local table hangs. The address is the
// thread's own for as long as it lives.
TaskLocals** LocalsOfCaller();

// Returns a number that no other live thread has; never 0.
inline uintptr_t CallerId() {
  return reinterpret_cast<uintptr_t>(LocalsOfCaller());
}

// Destroys `locals` and what hangs there, and leaves nullptr. The worker calls
// it on a user thread that ends, while the thread can still block; a kernel
// thread's end does it by itself. The values' destructors may use `locals`
// meanwhile.
void DestroyTaskLocals(TaskLocals*& locals);

}  // namespace yamanote::worker
