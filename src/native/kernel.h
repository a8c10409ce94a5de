// kernel.h - one enclave as its agents see it, whichever back-end is behind it.
//
// An enclave is a set of CPUs, its cores 0 .. n-1, and the threads that its agents
// schedule on them. Back-ends: the model (model.h), BPF on the scheduler's tracepoints,
// sched_ext.
//
//   messages -> [agent: order, slices] -> Commit() -> the thread runs
//
// Thread safety: a queue is read by one thread at a time. Everything else may be called
// by any agent's thread at any time, unless it says otherwise.
//
// Source: Humphries et al., "ghOSt", SOSP 2021 (the agents' interface).

#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>

#include "native/abi.h"
#include "yamanote/result.h"
#include "yamanote/task.h"

namespace yamanote::native {

using QueueId = uint32_t;

inline uint32_t IndexOf(ThreadId thread) {
  return static_cast<uint32_t>(thread);
}

// Whether sequence number `a` came after `b`; they wrap round.
inline bool IsAfter(uint32_t a, uint32_t b) {
  return static_cast<int32_t>(a - b) > 0;
}

// What became of an Associate().
enum class Association : uint8_t {
  kDone,
  kPending,   // Messages about the thread wait in its old queue.
  kStale,     // There was a message since `sequence`.
  kNotFound,  // No such thread, or no such queue.
};

class Kernel {
 public:
  virtual ~Kernel() = default;

  // Constant. Cores; and threads that there can be at a time: indices are below.
  virtual unsigned cores() const = 0;
  virtual uint32_t max_threads() const = 0;

  // ---- Queues

  // Returns a queue for `capacity` messages at least, which wakes nobody. Errors:
  // kInvalidArgument, kResourceExhausted.
  virtual Result<QueueId> CreateQueue(uint32_t capacity) = 0;

  // Forgets what is in it. Errors: kNotFound; kInvalidArgument: threads or cores are
  // associated with it.
  virtual Result<void> DestroyQueue(QueueId queue) = 0;

  // Messages to `queue` from now on wake `agent`'s agent and count for it; kNoCore:
  // nobody. Errors: kNotFound.
  virtual Result<void> ConfigureWake(QueueId queue, CoreId agent) = 0;

  // Messages about `thread` go to `queue` from now on, if there was none since `sequence`.
  virtual Association Associate(ThreadId thread, QueueId queue,
                                uint32_t sequence) = 0;

  // Messages about `core` go to `queue`, and those about threads that appear there; kNoCore:
  // those about threads that appear anywhere else. Errors: kNotFound.
  virtual Result<void> AssociateCore(CoreId core, QueueId queue) = 0;

  // Takes the oldest message; false: there is none.
  virtual bool Receive(QueueId queue, Message& message) = 0;

  // True, once, if messages were lost because `queue` was full. The status words are true.
  virtual bool Overflowed(QueueId queue) = 0;

  // Destroys all queues: the agents are gone, and others may come. Threads run on as they
  // are, and what happens to them is in their status words.
  virtual void Detach() = 0;

  // ---- State

  // What a transaction of `core`'s agent is checked against.
  virtual uint32_t AgentSequence(CoreId core) const = 0;

  // Writes what holds for `thread` now; false: it is not in the enclave any more.
  virtual bool Read(ThreadId thread, StatusWord& status) const = 0;

  // Calls `visit` for each of the enclave's threads.
  virtual void ForEachThread(
      const std::function<void(const StatusWord&)>& visit) const = 0;

  // Whether `thread`'s affinity has `core` in it. False for one that is gone.
  virtual bool MayRun(ThreadId thread, CoreId core) const = 0;

  // False while a higher class has `core`.
  virtual bool Available(CoreId core) const = 0;

  // ---- Decisions

  // Commits each transaction of `group` by itself and writes its result.
  virtual void Commit(std::span<Transaction> group) = 0;

  // Empty if agents can keep siblings in one trust domain: nothing of the enclave runs on a
  // core but what was committed there, a transaction without a thread vacates its core, and
  // a message says when a thread has left. Otherwise why not, and what to do. Constant.
  virtual std::string_view WhyNoCoreScheduling() const {
    return "this back-end cannot vacate a core; unset core_scheduling";
  }

  // Makes `core`'s agent look.
  virtual void WakeAgent(CoreId core) = 0;

  // The agent of `from` goes on as `to`'s, where there is none: it stands aside for a
  // higher class. Called by that agent.
  virtual void MoveAgent(CoreId from, CoreId to) = 0;
};

std::string_view ToString(MessageType type);
std::string_view ToString(CommitResult result);

}  // namespace yamanote::native
