// scx_shared.h - the maps that the sched_ext programs share with their agents.
//
// C, for both sides. All of it lies in mapped arrays: each field says who writes it.

#pragma once

#include "native/abi.h"

#ifdef __cplusplus
namespace yamanote::native {
#endif

enum ScxLimits {
  kScxCpus = 256,  // Of the machine, numbered below that.
  kScxQueues = 512,
  kScxGroup = 64,  // Transactions that one agent commits at a time.
  kScxNone = 0xffffffffu,
};

// A thread: its status word and what else is known of it. Written by the programs.
struct ScxThread {
  struct StatusWord word;
  uint32_t version;     // Odd while the word is written.
  uint32_t generation;  // Of the index.
  uint64_t latch;     // Which commit sent it to a core; 0: it has not, or left.
  uint64_t parked;    // The queue of the kernel's in which it waits.
  uint32_t queue;     // Of messages; kScxNone.
  uint32_t posted;    // Messages to that queue, and
  uint32_t received;  // those that were read. By agents.
  uint32_t unused;
  uint64_t allowed[kScxCpus / 64];  // Its affinity: CPUs.
};

// A core of the enclave.
struct ScxCore {
  uint32_t cpu;             // Constant.
  uint32_t agent_sequence;  // By the programs.
  uint32_t busy;            // A higher class has it. By the programs.
  uint32_t agent_preempts;  // It is an agent. By the programs.
  uint32_t sleeping;        // Its agent is to be woken. By agents.
  uint32_t kicks;           // Somebody wants its agent to look. By agents.
  uint32_t queue;           // Of messages; kScxNone. By agents.
  uint32_t unused[9];
};

// A queue of messages. By agents, `overflowed` by both.
struct ScxQueue {
  uint32_t alive;
  uint32_t wakes;  // The core whose agent it wakes; kScxNone.
  uint32_t overflowed;
  uint32_t unused[13];
};

struct ScxControl {
  // By the agents' side, before the scheduler is attached.
  uint32_t abi;
  uint32_t cores;
  uint32_t max_threads;
  uint32_t queues;             // Rings that there are,
  uint32_t queue_bytes;        // each of that size.
  uint32_t core_of[kScxCpus];  // By CPU; kScxNone: not the enclave's.
  // By agents, at any time.
  uint32_t agent_process;  // Its threads preempt without a word.
  uint32_t new_threads;    // The queue of threads that appear elsewhere.
  uint32_t ticks;          // 1: a message for each tick.
  uint32_t fast_path;      // 1: an idling core takes what waits, see scx.bpf.c.
  uint64_t fast_slice_ns;
  // By the programs.
  uint64_t latches;
  uint64_t fast_served;
  uint64_t unmanaged;  // Threads for which there was no index.
  uint32_t exit_kind;  // Not 0: the scheduler is gone.
  char exit_reason[64];
  char exit_message[128];
  uint64_t lost_messages;  // There was no room for them.
};

// Arguments of the programs that agents run.
struct ScxCommitArguments {
  uint32_t first;  // Of the table of transactions.
  uint32_t count;
};
struct ScxAssociateArguments {
  uint64_t thread;
  uint32_t queue;
  uint32_t sequence;
};
// What the latter returns; the same as Association of kernel.h.
enum ScxAssociation {
  kScxDone = 0,
  kScxPending,
  kScxStale,
  kScxNotFound,
};

#ifdef __cplusplus
static_assert(sizeof(ScxCore) == 64);
static_assert(sizeof(ScxQueue) == 64);
}  // namespace yamanote::native
#endif
