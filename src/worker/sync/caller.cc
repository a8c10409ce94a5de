// caller.cc - see the header.

#include "worker/sync/caller.h"

#include "worker/worker.h"

namespace yamanote::worker {
namespace {

// A kernel thread's own.
struct KernelThreadLocals {
  ~KernelThreadLocals() { DestroyTaskLocals(locals); }
  TaskLocals* locals = nullptr;
};

}  // namespace

TaskLocals** LocalsOfCaller() {
  if (Worker* const worker = Worker::This()) {
    if (UserThread* const thread = worker->current()) {
      return &thread->task_locals;
    }
  }
  static thread_local KernelThreadLocals kernel_thread;
  return &kernel_thread.locals;
}

}  // namespace yamanote::worker
