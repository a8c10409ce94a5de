// thread.cc - the public face of user threads: start, join, sleep.

#include "yamanote/thread.h"

#include <sched.h>

#include <cerrno>

#include "base/check.h"
#include "worker/engine.h"
#include "worker/spawn.h"
#include "worker/sync/block.h"
#include "worker/wait.h"

namespace yamanote {

using worker::Engine;
using worker::UserThread;
using worker::Waiter;
using worker::WaitResult;
using worker::Worker;

namespace detail {

static_assert(kInlineBytes == UserThread::kInlineBytes);

Fresh NewThread() {
  Engine* const engine = Engine::Current();
  UserThread* const thread = engine == nullptr ? nullptr : engine->NewThread();
  return {thread, thread == nullptr ? nullptr : thread->storage};
}

void Launch(UserThread& thread, const ThreadOptions& options,
            void (*run)(void*)) {
  thread.run = run;
  thread.name = options.name;
  thread.request_class = options.request_class;
  thread.weight = options.weight;
  thread.deadline = options.deadline;
  Engine::Current()->Launch(thread);
}

Error CannotSpawn() {
  Engine* const engine = Engine::Current();
  if (engine == nullptr) {
    return Error{
        ErrorCode::kUnavailable,
        "no Runtime in this process: create one before the first user thread",
        0};
  }
  if (engine->threads().OutOfMemory()) {
    return Error{
        ErrorCode::kResourceExhausted,
        "no memory for another user thread; raise `ulimit -v`, the "
        "container's limit or vm.max_map_count, or wait for threads to "
        "end",
        ENOMEM};
  }
  return Error{
      ErrorCode::kResourceExhausted,
      "max_threads = " + std::to_string(engine->options().max_threads) +
          " user threads are alive; raise it or wait for threads to end",
      0};
}

}  // namespace detail

namespace {

// False if the wait ended before the thread did.
[[gnu::always_inline]] inline bool Join(UserThread& thread, Instant deadline,
                                        const std::stop_token* stop) {
  const bool for_good = deadline == kNever && stop == nullptr;
  Waiter waiter(worker::EndsOf(deadline, stop));
  const uintptr_t joining = reinterpret_cast<uintptr_t>(&waiter) |
                            (for_good ? UserThread::kJoinsForGood : 0);
  // Acquire: pairs with the exchange in Engine::Complete(), so that what the
  // thread wrote is visible here.
  uintptr_t expected = UserThread::kRunning;
  if (thread.completion.load(std::memory_order_acquire) ==
          UserThread::kFinished ||
      !thread.completion.compare_exchange_strong(expected, joining,
                                                 std::memory_order_acq_rel)) {
    return true;
  }
  if (worker::Block(waiter, deadline, stop) == WaitResult::kNotified)
    return true;
  expected = joining;
  if (thread.completion.compare_exchange_strong(expected, UserThread::kRunning,
                                                std::memory_order_acq_rel)) {
    return false;
  }
  // It finished meanwhile and its Complete() holds `waiter`: see there.
  while (thread.completion.load(std::memory_order_acquire) !=
         UserThread::kFinished) {
    base::Pause();
  }
  return true;
}

}  // namespace

void Thread::join() {
  YAMANOTE_CHECK(joinable(), "join() of a thread that is not joinable");
  UserThread& thread = *thread_;
  const bool joined = Join(thread, kNever, nullptr);
  YAMANOTE_CHECK(joined, "a join without a deadline ended early");
  thread_ = nullptr;
  Engine::Current()->Free(thread);
}

bool Thread::join_until(Instant deadline, const std::stop_token& stop) {
  YAMANOTE_CHECK(joinable(), "join() of a thread that is not joinable");
  UserThread& thread = *thread_;
  if (!Join(thread, deadline, stop.stop_possible() ? &stop : nullptr))
    return false;
  thread_ = nullptr;
  Engine::Current()->Free(thread);
  return true;
}

void Thread::detach() {
  YAMANOTE_CHECK(joinable(), "detach() of a thread that is not joinable");
  UserThread& thread = *std::exchange(thread_, nullptr);
  uintptr_t expected = UserThread::kRunning;
  if (!thread.completion.compare_exchange_strong(
          expected, UserThread::kDetached, std::memory_order_acq_rel)) {
    Engine::Current()->Free(thread);
  }
}

Thread::id Thread::get_id() const noexcept {
  return thread_ == nullptr ? 0 : thread_->id;
}

io::Poller& PollerOf(CoreId core) {
  return Engine::Current()->parking().poller(core);
}

bool CheckPreempt() { return Worker::CheckPreempt(); }

namespace this_thread {

void yield() {
  Worker* const current = Worker::This();
  if (current == nullptr || current->current() == nullptr) {
    sched_yield();
    return;
  }
  Worker::Yield(current, Wake::kYield);
}

bool sleep_until(Instant when, const std::stop_token& stop) {
  Waiter waiter;
  return worker::Block(waiter, when, stop.stop_possible() ? &stop : nullptr) ==
         WaitResult::kTimedOut;
}

const char* name() {
  Worker* const current = Worker::This();
  return current == nullptr || current->current() == nullptr
             ? ""
             : current->current()->name;
}

Thread::id get_id() {
  Worker* const current = Worker::This();
  return current == nullptr || current->current() == nullptr
             ? 0
             : current->current()->id;
}

bool is_user_thread() {
  Worker* const current = Worker::This();
  return current != nullptr && current->current() != nullptr;
}

}  // namespace this_thread

namespace worker {

namespace {

struct EntryCall {
  void (*entry)(void*);
  void* argument;
};

void RunEntry(void* storage) {
  const EntryCall call = *static_cast<EntryCall*>(storage);
  call.entry(call.argument);
}

}  // namespace

Result<void> Spawn(const SpawnOptions& options, void (*entry)(void*),
                   void* argument) {
  Engine* const engine = Engine::Current();
  UserThread* const thread = engine == nullptr ? nullptr : engine->NewThread();
  if (thread == nullptr) return tl::unexpected(detail::CannotSpawn());
  ::new (static_cast<void*>(thread->storage)) EntryCall{entry, argument};
  thread->run = &RunEntry;
  thread->name = options.name;
  thread->request_class = options.request_class;
  thread->flow = options.flow;
  thread->arrival = options.arrival;
  thread->deadline = options.deadline;
  thread->weight = 1;
  // Nobody else knows it yet: ordered by its Enqueue().
  thread->completion.store(UserThread::kDetached, std::memory_order_relaxed);
  engine->Launch(*thread);
  return {};
}

CoreId CurrentCore() {
  Worker* const current = Worker::This();
  return current == nullptr ? kNoCore : current->core();
}

io::Poller& PollerOf(CoreId core) {
  return Engine::Current()->parking().poller(core);
}

uint64_t CurrentStint() {
  const Worker* const worker = Worker::This();
  if (worker == nullptr) return 0;
  // A core's progress only grows, so equal sums of two cores are no worry within
  // the few years that the upper bits last.
  return (worker->reschedules() << 8) + worker->core() + 1;
}

void CheckPreempt() { Worker::CheckPreempt(); }

}  // namespace worker
}  // namespace yamanote
