// tracing_abi.h - what the programs of tracing.bpf.c share with user space.
//
// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
//
// C, in memory that both map. Who writes a field is said beside it; "both" change it by
// atomic operations alone.
//
// `state` holds what must change together: a thread's sequence number, its bits and its
// queue. BPF programs have no compare-and-swap before Linux 5.12, but one at a time deals
// with a thread (tracing.bpf.c says why), so they *add* the difference to the state that
// they saw; user space uses compare-and-swap, and changes the number and the queue only,
// which leaves the difference true.
//
// The number that a program reads back after its addition is its own unless user space
// has changed it between these two instructions. It does so only for a thread that has
// been as it is since its last commit, whole system calls ago.

#pragma once

#include "native/abi.h"

#ifdef __cplusplus
namespace yamanote::native {
#endif

enum {
  kTracedCpus = 1024,  // CPU numbers are below.
  kTracedMaskWords = kTracedCpus / 64,
  kTracedStrays = 256,
  kTracedNoQueue = 0xffff,
};

// state: sequence << 32 | bits << 16 | queue.
enum TracedBits {
  kTracedRunnable = 1,
  kTracedAnnounced = 2,  // Its first message was sent: the agents know of it.
};

// How a thread was scheduled before the enclave had it.
struct TracedSettings {
  uint32_t policy;
  int32_t nice;
  uint64_t flags;    // SCHED_FLAG_RESET_ON_FORK or none.
  uint64_t runtime;  // Of the fair class; 0: the kernel's default.
  uint64_t affinity[kTracedMaskWords];
};

struct TracedThread {
  uint64_t state;       // Both.
  uint64_t thread;      // ThreadId; 0: free. Who takes or frees the slot.
  uint32_t generation;  // Likewise.
  int32_t tid;   // Likewise; BPF: the one that calls exec() takes its leader's.
  uint32_t cpu;  // BPF, as all below but the settings.
  uint32_t weight;  // User.
  int32_t parent;   // BPF; 0: it joined by itself, then by user.
  uint32_t unused;
  uint64_t ran_ns;
  uint64_t on_since_ns;  // When it came on its CPU; 0: it is on none.
  uint64_t
      waits_since_ns;  // Since when it can run and does not; 0: it does not wait.
  struct TracedSettings settings;  // User; BPF gives a child its parent's.
};

struct TracedQueue {
  uint64_t lost;  // BPF: messages that there was no room for.
  uint32_t
      agent;  // User: core + 1 of the agent that it wakes and counts for; 0: none.
  uint32_t unused;
};

// One cache line each.
struct TracedAgent {
  uint32_t sequence;  // Both.
  uint32_t unused[15];
};

// A child for which there was no slot: it is as its parent was, and nobody's.
struct TracedStray {
  int32_t tid;  // 0: none, or it was dealt with.
  int32_t unused;
  struct TracedSettings settings;
};

struct TracedCommon {
  uint64_t strays;     // BPF: how many there have been.
  uint32_t new_queue;  // User: where new threads' messages go.
  uint32_t unused[13];
};

// What the programs are told before they are loaded.
struct TracedConstants {
  uint32_t
      has_state_argument;  // Since 5.18 a switch says the previous thread's state.
  uint32_t unused;
  uint16_t core_of_cpu[kTracedCpus];  // + 1; 0: it is not the enclave's.
};

#ifdef __cplusplus
}  // namespace yamanote::native
#endif
