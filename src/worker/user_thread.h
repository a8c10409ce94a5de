// user_thread.h - what a core runs: a task with code, and a stack while it
// runs.
//
// States, by what is set:
//   fresh      in a domain, stack == nullptr: it gets a stack when first run, or
//              waits for one (stackless.h)
//   running    it is some Worker's current()
//   runnable   in a domain, stack != nullptr
//   blocked    in no domain; a Waiter on its stack says for what
//   finished   run() has returned; the block lives until joined or detached
//
//   fresh -> running -> { runnable, blocked } -> running -> ... -> finished
//
// Late stacks keep short threads cheap: a finished thread's stack, warm in the
// cache, is handed to the next fresh one without a context switch.

#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "base/cpu.h"
#include "worker/context.h"
#include "worker/sanitizer.h"
#include "worker/stack_pool.h"
#include "yamanote/task.h"

namespace yamanote::worker {

class TaskLocals;  // sync/task_local.cc

class alignas(base::kCacheLine) UserThread final : public Task {
 public:
  // Bytes of a callable that need no allocation.
  static constexpr size_t kInlineBytes = 96;

  // UserThread::completion beside a Waiter's address.
  static constexpr uintptr_t kRunning = 0;
  static constexpr uintptr_t kFinished = 2;
  static constexpr uintptr_t kDetached = 4;
  static constexpr uintptr_t kCompleting = 6;
  // Set in a Waiter's address: it will not give up.
  static constexpr uintptr_t kJoinsForGood = 1;

  Context context;
  Stack* stack = nullptr;
  // Runs and destroys what storage holds.
  void (*run)(void* storage) = nullptr;
  const char* name = "";
  uint64_t flow = 0;
  // Owned; DestroyTaskLocals() ends it on the thread, before it finishes.
  TaskLocals* task_locals = nullptr;
  UserThread* next_free = nullptr;  // In a free list, or in Stackless.
  // kRunning -> Waiter (joining) -> kRunning (gave up) | kCompleting
  // kRunning -> Waiter + kJoinsForGood, for the rest of this life
  // kRunning -> kDetached -> kCompleting;  kRunning -> kFinished
  // kCompleting -> kFinished, only if the joiner gave up at the same moment.
  std::atomic<uintptr_t> completion{kRunning};
  // Set once a block was reported (OnStop, attained), so that a waker's
  // Enqueue() comes after it. Used only where the order asks for that. Release
  // in Worker::Stopping() pairs with acquire in Engine::Resume().
  std::atomic<bool> stop_reported{false};
  // Where its core asks itself: it calls CheckPreempt(), so that its probes need not look
  // at the clock; else how many of them it lets pass. Written by the task alone.
  bool checks_itself = false;
  bool gave_way = false;  // A slice of it has ended since it last blocked.
  static constexpr uint32_t kNeverAsked = UINT32_MAX;
  uint32_t skips = kNeverAsked;
  [[no_unique_address]] sanitizer::Saved saved;
  alignas(16) std::byte storage[kInlineBytes];
};

}  // namespace yamanote::worker
