// tracing.bpf.c - the kernel's side of a traced enclave: messages and status words.
//
// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
//
// Programs on the scheduler's tracepoints keep each managed thread's state and send what
// changes to the thread's queue. They decide nothing: who is to run is user space's
// business (tracing.h), by priority and affinity. So a thread that is preempted is reported
// by user space too, which did it; a switch away from a thread that can run says nothing,
// because agents and interrupts' threads cause those as well.
//
// One program at a time deals with a thread. A switch and a wake-up of the same thread are
// ordered by its run queue's lock, or the waker waits until the thread has left its CPU.
// Fork and the first wake-up are one after another. Exit and exec run in the thread
// itself, which cannot be woken while it runs, and tracepoints are not preempted.
//
// Kernels: 5.8 (ring buffers); type information for what is read of a task.

// clang-format off
#include <linux/bpf.h>
// After it, whose types they use.
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <stdbool.h>
// clang-format on

#include "native/bpf/tracing_abi.h"

char LICENSE[] SEC("license") = "GPL";

// Only what is used: its place is looked up when the program is loaded.
struct task_struct {
  int pid;
  unsigned int __state;
} __attribute__((preserve_access_index));
// Before 5.14.
struct task_struct___old {
  long state;
} __attribute__((preserve_access_index));

// Set before loading; the only thing in .rodata.
const volatile struct TracedConstants constants = {};

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, uint32_t);
  __type(value, struct TracedThread);
} threads SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, uint32_t);
  __type(value, struct TracedQueue);
} queues SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, uint32_t);
  __type(value, struct TracedAgent);
} agents SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, uint32_t);
  __type(value, struct TracedCommon);
} shared SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, kTracedStrays);
  __type(key, uint32_t);
  __type(value, struct TracedStray);
} strays SEC(".maps");

// Thread number -> index.
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 1);
  __type(key, int32_t);
  __type(value, uint32_t);
} indices SEC(".maps");

// Free indices; the one that was freed first is used first.
struct {
  __uint(type, BPF_MAP_TYPE_QUEUE);
  __uint(max_entries, 1);
  __type(value, uint32_t);
} unused_indices SEC(".maps");

struct Ring {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, 4096);
};
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
  __uint(max_entries, 1);
  __type(key, uint32_t);
  __array(values, struct Ring);
} rings SEC(".maps");

static __always_inline struct TracedThread* At(uint32_t index) {
  return bpf_map_lookup_elem(&threads, &index);
}

static __always_inline struct TracedThread* Find(int32_t tid) {
  const uint32_t* const index = bpf_map_lookup_elem(&indices, &tid);
  return index == 0 ? 0 : At(*index);
}

static __always_inline uint32_t CoreOf(uint32_t cpu) {
  const uint32_t core = cpu < kTracedCpus ? constants.core_of_cpu[cpu] : 0;
  return core - 1;
}

static __always_inline void Send(const struct TracedThread* thread,
                                 uint8_t type, uint64_t state, uint64_t now) {
  const uint32_t id = state & 0xffff;
  struct TracedQueue* const queue = bpf_map_lookup_elem(&queues, &id);
  if (queue == 0) return;
  void* const ring = bpf_map_lookup_elem(&rings, &id);
  if (ring == 0) return;
  struct Message* const message =
      bpf_ringbuf_reserve(ring, sizeof(struct Message), 0);
  if (message == 0) {
    __sync_fetch_and_add(&queue->lost, 1);
  } else {
    message->type = type;
    message->flags = (state >> 16 & kTracedRunnable) ? kStatusRunnable : 0;
    message->weight = thread->weight;
    message->core = CoreOf(thread->cpu);
    message->thread = thread->thread;
    message->sequence = state >> 32;
    message->tid = thread->tid;
    message->ran_ns = thread->ran_ns;
    message->at_ns = now;
    bpf_ringbuf_submit(message, 0);
  }
  // After the message: whoever has read this number has the message within reach.
  const uint32_t core = *(volatile uint32_t*)&queue->agent - 1;
  struct TracedAgent* const agent = bpf_map_lookup_elem(&agents, &core);
  if (agent != 0) __sync_fetch_and_add(&agent->sequence, 1);
}

// Gives `thread` these bits and the next number, and says so if agents know of it.
static __always_inline void Change(struct TracedThread* thread, uint8_t type,
                                   uint64_t bits, uint64_t now) {
  const uint64_t before = *(volatile uint64_t*)&thread->state;
  const uint64_t old = before >> 16 & 0xffff;
  __sync_fetch_and_add(&thread->state,
                       (1ULL << 32) + (bits << 16) - (old << 16));
  const uint64_t after = *(volatile uint64_t*)&thread->state;
  if (bits & kTracedAnnounced) Send(thread, type, after, now);
}

static __always_inline uint64_t BitsOf(const struct TracedThread* thread) {
  return *(volatile uint64_t*)&thread->state >> 16 & 0xffff;
}

static __always_inline void BecomeRunnable(struct TracedThread* thread,
                                           uint64_t now) {
  const uint64_t bits = BitsOf(thread);
  if (bits & kTracedRunnable) return;
  Change(thread, kThreadWakeup, bits | kTracedRunnable, now);
}

static __always_inline bool Blocks(struct task_struct* prev,
                                   unsigned int prev_state) {
  if (constants.has_state_argument) return prev_state != 0;
  if (bpf_core_field_exists(prev->__state)) return prev->__state != 0;
  return ((struct task_struct___old*)prev)->state != 0;
}

static __always_inline void LeaveCpu(struct TracedThread* thread, bool blocks) {
  const uint64_t now = bpf_ktime_get_ns();
  if (thread->on_since_ns != 0) thread->ran_ns += now - thread->on_since_ns;
  thread->on_since_ns = 0;
  if (!blocks) {
    thread->waits_since_ns = now;
    BecomeRunnable(thread,
                   now);  // It was thought to be blocked when it joined.
    return;
  }
  thread->waits_since_ns = 0;
  const uint64_t bits = BitsOf(thread);
  if (bits & kTracedRunnable)
    Change(thread, kThreadBlocked, bits & ~(uint64_t)kTracedRunnable, now);
}

static __always_inline void EnterCpu(struct TracedThread* thread) {
  const uint64_t now = bpf_ktime_get_ns();
  thread->cpu = bpf_get_smp_processor_id();
  thread->on_since_ns = now;
  thread->waits_since_ns = 0;
  BecomeRunnable(thread, now);
}

SEC("tp_btf/sched_switch")
int BPF_PROG(OnSwitch, bool preempt, struct task_struct* prev,
             struct task_struct* next, unsigned int prev_state) {
  struct TracedThread* const from = Find(prev->pid);
  if (from != 0) LeaveCpu(from, !preempt && Blocks(prev, prev_state));
  struct TracedThread* const to = Find(next->pid);
  if (to != 0) EnterCpu(to);
  return 0;
}

SEC("tp_btf/sched_wakeup")
int BPF_PROG(OnWakeup, struct task_struct* task) {
  struct TracedThread* const thread = Find(task->pid);
  if (thread == 0) return 0;
  const uint64_t now = bpf_ktime_get_ns();
  if (thread->on_since_ns == 0) thread->waits_since_ns = now;
  BecomeRunnable(thread, now);
  return 0;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(OnFork, struct task_struct* parent, struct task_struct* child) {
  struct TracedThread* const from = Find(parent->pid);
  if (from == 0) return 0;
  const uint32_t zero = 0;
  struct TracedCommon* const common = bpf_map_lookup_elem(&shared, &zero);
  if (common == 0) return 0;
  uint32_t index = 0;
  const int32_t tid = child->pid;
  if (bpf_map_pop_elem(&unused_indices, &index) != 0) {
    const uint32_t stray = common->strays % kTracedStrays;
    __sync_fetch_and_add(&common->strays, 1);
    struct TracedStray* const slot = bpf_map_lookup_elem(&strays, &stray);
    if (slot == 0) return 0;
    slot->settings = from->settings;
    *(volatile int32_t*)&slot->tid = tid;
    return 0;
  }
  struct TracedThread* const thread = At(index);
  if (thread == 0) return 0;
  // Numbers go on from where the index' last thread left them.
  const uint64_t before = thread->state;
  thread->state = (before & ~0xffffffffULL) | common->new_queue;
  thread->generation += 1;
  if (thread->generation == 0) thread->generation = 1;
  thread->tid = tid;
  thread->parent = parent->pid;
  thread->cpu = from->cpu;
  thread->weight = from->weight;
  thread->ran_ns = 0;
  thread->on_since_ns = 0;
  thread->waits_since_ns = 0;
  thread->settings = from->settings;
  *(volatile uint64_t*)&thread->thread =
      (uint64_t)thread->generation << 32 | index;
  bpf_map_update_elem(&indices, &tid, &index, BPF_ANY);
  return 0;
}

SEC("tp_btf/sched_wakeup_new")
int BPF_PROG(OnFirstWakeup, struct task_struct* task) {
  struct TracedThread* const thread = Find(task->pid);
  if (thread == 0) return 0;
  const uint64_t now = bpf_ktime_get_ns();
  thread->waits_since_ns = now;
  if (BitsOf(thread) & kTracedAnnounced) {
    BecomeRunnable(thread, now);
  } else {
    Change(thread, kThreadCreated, kTracedRunnable | kTracedAnnounced, now);
  }
  return 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(OnExit, struct task_struct* task) {
  const int32_t tid = task->pid;
  const uint32_t* const found = bpf_map_lookup_elem(&indices, &tid);
  if (found == 0) return 0;
  uint32_t index = *found;
  struct TracedThread* const thread = At(index);
  if (thread == 0) return 0;
  // Who takes it out of the map frees it: it may be leaving the enclave.
  if (bpf_map_delete_elem(&indices, &tid) != 0) return 0;
  const uint64_t now = bpf_ktime_get_ns();
  if (thread->on_since_ns != 0) thread->ran_ns += now - thread->on_since_ns;
  thread->on_since_ns = 0;
  thread->waits_since_ns = 0;
  Change(thread, kThreadDead, BitsOf(thread) & kTracedAnnounced, now);
  *(volatile uint64_t*)&thread->thread = 0;
  bpf_map_push_elem(&unused_indices, &index, BPF_ANY);
  return 0;
}

// A thread that is not its process' first takes the first one's number.
SEC("tp_btf/sched_process_exec")
int BPF_PROG(OnExec, struct task_struct* task, int old_pid) {
  const int32_t tid = task->pid;
  const int32_t old = old_pid;
  if (tid == old) return 0;
  const uint32_t* const found = bpf_map_lookup_elem(&indices, &old);
  if (found == 0) return 0;
  uint32_t index = *found;
  struct TracedThread* const thread = At(index);
  if (thread == 0) return 0;
  if (bpf_map_delete_elem(&indices, &old) != 0) return 0;
  thread->tid = tid;
  bpf_map_update_elem(&indices, &tid, &index, BPF_ANY);
  return 0;
}
