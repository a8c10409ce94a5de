// abi.h - what the kernel's side of an enclave and its agents share.
//
// C, because BPF programs include it too. The kernel's side is a back-end (kernel.h):
// BPF programs, or the model. It writes messages and status words and reads transactions;
// agents do the opposite.
//
// Each thread has a sequence number. It grows by one with every message about the thread,
// which carries the number that it then has. So who commits with the number of the last
// message that it read commits only if there was none since. An agent's own number grows
// with every message to a queue that wakes it.
//
// Source: Humphries et al., "ghOSt", SOSP 2021, section 3 (messages, status words,
// sequence numbers, transactions).

#pragma once

#ifdef __cplusplus
#include <cstdint>
namespace yamanote::native {
#else
typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
typedef unsigned int uint32_t;
typedef int int32_t;
typedef unsigned long long uint64_t;
#endif

// Changes whenever anything here does; both sides check it.
enum { kNativeAbiVersion = 3 };

enum MessageType {
  kMessageNone = 0,
  // About a thread. A created one is runnable if the status flags in the message say so.
  kThreadCreated,
  kThreadWakeup,   // It can run.
  kThreadBlocked,  // It left its core, and cannot.
  kThreadPreempted,  // It left its core for another, or for a higher class, and can.
  kThreadYield,     // It left its core by itself, and can.
  kThreadAffinity,  // Where it may run has changed.
  kThreadPriority,  // Its weight has.
  kThreadDeparted,  // It left the enclave.
  kThreadDead,
  // About a core.
  kTimerTick,
  kCoreBusy,       // A higher class has it. What ran there was preempted first.
  kCoreAvailable,  // It is the enclave's again.
  kMessageTypes,
};

// In a status word, and in messages: what held right after the event.
enum StatusFlags {
  kStatusRunnable = 1,
  kStatusOnCore = 2,
};

// One of the enclave's threads: index in the low half, which names its status word, and
// the index' generation, not 0, in the high half. Never used again.
typedef uint64_t ThreadId;

struct Message {
  uint8_t type;       // MessageType
  uint8_t flags;      // StatusFlags
  uint16_t weight;    // The thread's, 1 .. 10000.
  uint32_t core;      // Where it happened; for a wake-up, where it last ran.
  ThreadId thread;    // 0: it is about the core.
  uint32_t sequence;  // The thread's with this message.
  int32_t tid;        // The kernel's number of the thread.
  uint64_t ran_ns;    // How long the thread has run in all.
  uint64_t at_ns;     // When: CLOCK_MONOTONIC, or the model's time.
};

struct StatusWord {
  ThreadId thread;    // 0: the word is free.
  uint32_t sequence;  // Of the last message about it, read or not.
  uint32_t flags;     // StatusFlags
  uint32_t core;      // Where it is, or last was.
  int32_t tid;
  uint64_t ran_ns;
  uint16_t weight;
  uint16_t unused;
  int32_t
      parent;  // The kernel's number of the thread that made it; 0: not known.
};

// What became of a transaction.
enum CommitResult {
  kCommitNone = 0,     // Not committed yet.
  kCommitted,          // The thread runs there, or is about to.
  kCommitStaleThread,  // There is a newer message about it.
  kCommitStaleAgent,   // There is a newer message to the agent.
  kCommitOnCore,       // It runs elsewhere.
  kCommitNotFound,     // There is no such thread in the enclave any more.
  kCommitNotRunnable,  // It cannot run, or cannot yet: its message came before it.
  kCommitUnavailable,   // A higher class has the core.
  kCommitNotPermitted,  // The thread may not run on that core.
  kCommitBadCore,       // The core is none of the enclave's.
  kCommitNotSupported,  // The back-end cannot vacate a core.
  kCommitResults,
};

// Which sequence numbers a transaction is checked against.
enum TransactionFlags {
  kCheckThread = 1,  // thread_sequence
  kCheckAgent = 2,   // agent_sequence
};

// Puts `thread` on `core`. What ran there is preempted. `thread` 0 vacates the core: nobody
// takes the place of what ran or was about to, and the message about that says when it is
// done. Of the flags only kCheckAgent counts then.
struct Transaction {
  ThreadId thread;
  uint32_t core;
  uint32_t flags;  // TransactionFlags
  uint32_t thread_sequence;
  uint32_t agent_sequence;
  uint32_t agent;   // The core of the agent that commits.
  uint32_t result;  // CommitResult, written by the kernel's side.
};

#ifdef __cplusplus
static_assert(sizeof(Message) == 40);
static_assert(sizeof(StatusWord) == 40);
static_assert(sizeof(Transaction) == 32);
}  // namespace yamanote::native
#endif
