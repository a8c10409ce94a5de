// scx.bpf.c - the kernel's side of an enclave, as a sched_ext scheduler.
// SPDX-License-Identifier: GPL-2.0-only
//
// It decides nothing. A thread that can run waits in a queue of its own, its *parking
// queue*, where no core looks; a commit moves it to its core's queue, and the core is
// kicked. What happens becomes messages.
//
//   enqueue -> parking queue -(commit)-> the core's queue -(dispatch)-> runs
//
// A thread gets its index, and its first message, when it first leaves its core or becomes
// runnable; one that joins while it runs is taken off at once. A committed thread's slice
// never ends: agents preempt by a commit. One that an agent preempts, since agents are of
// a higher class, goes back to its core's queue without a word, and on from there.
//
// All that happens to a thread does so under its run queue's lock, which orders it; but
// programs that agents run are outside of it. What they have in common is guarded by the
// thread's spin lock.
//
// With the fast path all threads park in one queue, and a core that has nothing takes the
// first that may run there, for a slice; a commit may still move any of the first
// kFastDepth. To an agent such a thread is one that runs elsewhere. Until there are agents
// it is on: what they need to begin may wait for RCU, and so for threads.

#include "native/bpf/scx_kernel.h"
#include "native/bpf/scx_shared.h"

char _license[] SEC("license") = "GPL";

// Queues of the kernel's; indices below them.
#define kParking 0x1000000ULL
#define kCores 0x2000000ULL
#define kShared 0x3000000ULL
#define kFastDepth 64
// PF_EXITING and SCHED_EXT: the one has not changed for decades, the other is ABI.
#define kExiting 0x4
#define kSchedExt 7
// TASK_NEW: as it is since 5.14.
#define kNewTask 0x800

struct TaskState {
  __u32 slot;  // The thread's index + 1; 0: it has none.
  __u32 yields;
  __s32 parent;  // The thread that made it; 0: not known.
};

struct ThreadLock {
  struct bpf_spin_lock lock;
};

struct {
  __uint(type, BPF_MAP_TYPE_TASK_STORAGE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, int);
  __type(value, struct TaskState);
} tasks SEC(".maps");

// Their sizes are set before they are loaded.
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct ScxThread);
} threads SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct ThreadLock);
} locks SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_QUEUE);
  __uint(max_entries, 1);
  __type(value, __u32);
} free_slots SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, kScxCpus);
  __type(key, __u32);
  __type(value, struct ScxCore);
} cores SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, kScxQueues);
  __type(key, __u32);
  __type(value, struct ScxQueue);
} queue_states SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, kScxCpus* kScxGroup);
  __type(key, __u32);
  __type(value, struct Transaction);
} transactions SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct ScxControl);
} control_map SEC(".maps");

struct Ring {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, 4096);
};

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
  __uint(max_entries, kScxQueues);
  __type(key, __u32);
  __array(values, struct Ring);
} rings SEC(".maps");

static __always_inline struct ScxControl* Control(void) {
  const __u32 zero = 0;
  return bpf_map_lookup_elem(&control_map, &zero);
}

static __always_inline __u32 CoreOf(__s32 cpu) {
  struct ScxControl* control = Control();
  if (!control || cpu < 0 || cpu >= kScxCpus) return kScxNone;
  return control->core_of[cpu];
}

static __always_inline struct ScxThread* ThreadOf(const struct TaskState* state,
                                                  __u32* index) {
  if (!state || state->slot == 0) return NULL;
  *index = state->slot - 1;
  return bpf_map_lookup_elem(&threads, index);
}

static __always_inline struct TaskState* StateOf(struct task_struct* task) {
  return bpf_task_storage_get(&tasks, task, NULL, 0);
}

// ---- Messages ---------------------------------------------------------------

// Returns whether `message` is in `queue`. The agent's sequence number grows after the
// record is there and before it can be read: readers wait for it, so who has the new
// number has the message too.
static __noinline bool Send(__u32 queue, const struct Message* message) {
  if (!message) return false;
  struct ScxQueue* state = bpf_map_lookup_elem(&queue_states, &queue);
  if (!state || !state->alive) return false;
  void* ring = bpf_map_lookup_elem(&rings, &queue);
  if (!ring) return false;
  struct Message* record = bpf_ringbuf_reserve(ring, sizeof(*record), 0);
  if (record) {
    *record = *message;
  } else {
    state->overflowed = 1;
    struct ScxControl* control = Control();
    if (control) __sync_fetch_and_add(&control->lost_messages, 1);
  }
  __u64 flags = BPF_RB_NO_WAKEUP;
  const __u32 agent = state->wakes;
  struct ScxCore* core = bpf_map_lookup_elem(&cores, &agent);
  if (core) {
    // A full fence: pairs with ScxKernel::Wait()'s.
    __u32 sequence = __sync_fetch_and_add(&core->agent_sequence, 1);
    asm volatile("" ::"r"(sequence));
    if (*(volatile __u32*)&core->sleeping) flags = BPF_RB_FORCE_WAKEUP;
  }
  if (!record) return false;
  bpf_ringbuf_submit(record, flags);
  return true;
}

// Something happened to a thread: its word says so, and a message. latch: only if it is
// still where that commit sent it; 0: in any case.
static __noinline void Post(__u32 index, __u32 type, __u32 flags, __u32 core,
                            __u64 latch) {
  struct ScxThread* thread = bpf_map_lookup_elem(&threads, &index);
  struct ThreadLock* lock = bpf_map_lookup_elem(&locks, &index);
  if (!thread || !lock) return;
  struct Message message = {.type = type, .flags = flags};
  message.at_ns = bpf_ktime_get_ns();
  bpf_spin_lock(&lock->lock);
  if (latch != 0 && thread->latch != latch) {
    bpf_spin_unlock(&lock->lock);
    return;
  }
  ++*(volatile __u32*)&thread->version;
  barrier();
  ++thread->word.sequence;
  thread->word.flags = flags;
  if (core != kScxNone) thread->word.core = core;
  if (!(flags & kStatusOnCore)) thread->latch = 0;
  barrier();
  ++*(volatile __u32*)&thread->version;
  const __u32 queue = thread->queue;
  if (queue != kScxNone) ++thread->posted;
  message.weight = thread->word.weight;
  message.core = thread->word.core;
  message.thread = thread->word.thread;
  message.sequence = thread->word.sequence;
  message.tid = thread->word.tid;
  message.ran_ns = thread->word.ran_ns;
  bpf_spin_unlock(&lock->lock);
  if (queue == kScxNone || Send(queue, &message)) return;
  bpf_spin_lock(&lock->lock);
  --thread->posted;
  bpf_spin_unlock(&lock->lock);
}

static __always_inline void PostCore(struct ScxCore* core, __u32 number,
                                     __u32 type) {
  struct Message message = {.type = type, .core = number};
  if (core->queue == kScxNone) return;
  message.at_ns = bpf_ktime_get_ns();
  Send(core->queue, &message);
}

// ---- Threads ----------------------------------------------------------------

static __always_inline __u16 WeightOf(__u32 weight) {
  return weight < 1 ? 1 : weight > 10000 ? 10000 : weight;
}

// Returns whether it is another.
static __always_inline bool NoteAffinity(struct ScxThread* thread,
                                         const struct cpumask* mask) {
  const bool changed = thread->allowed[0] != mask->bits[0] ||
                       thread->allowed[1] != mask->bits[1] ||
                       thread->allowed[2] != mask->bits[2] ||
                       thread->allowed[3] != mask->bits[3];
  thread->allowed[0] = mask->bits[0];
  thread->allowed[1] = mask->bits[1];
  thread->allowed[2] = mask->bits[2];
  thread->allowed[3] = mask->bits[3];
  return changed;
}

// Gives the task an index. Returns false if there is none.
static __always_inline bool Announce(struct task_struct* task,
                                     struct TaskState* state, __u32 core,
                                     __u32 flags) {
  struct ScxControl* control = Control();
  __u32 index;
  if (!control) return false;
  if (bpf_map_pop_elem(&free_slots, &index) != 0) {
    __sync_fetch_and_add(&control->unmanaged, 1);
    return false;
  }
  struct ScxThread* thread = bpf_map_lookup_elem(&threads, &index);
  if (!thread) return false;
  __u32 queue = control->new_threads;
  struct ScxCore* where = bpf_map_lookup_elem(&cores, &core);
  if (where && core < control->cores && where->queue != kScxNone)
    queue = where->queue;
  ++*(volatile __u32*)&thread->version;
  barrier();
  if (++thread->generation == 0) thread->generation = 1;
  thread->word.thread = (__u64)thread->generation << 32 | index;
  thread->word.sequence = 0;
  thread->word.flags = 0;
  thread->word.core = core;
  thread->word.tid = task->pid;
  thread->word.parent = state->parent;
  thread->word.ran_ns = task->se.sum_exec_runtime;
  thread->word.weight = WeightOf(task->scx.weight);
  thread->latch = 0;
  thread->posted = 0;
  thread->received = 0;
  thread->queue = queue;
  NoteAffinity(thread, task->cpus_ptr);
  barrier();
  ++*(volatile __u32*)&thread->version;
  state->slot = index + 1;
  state->yields = 0;
  Post(index, kThreadCreated, flags, core, 0);
  return true;
}

static __always_inline void Park(struct task_struct* task, __u32 index,
                                 struct ScxThread* thread) {
  struct ScxControl* control = Control();
  const bool fast =
      control && (control->fast_path || control->new_threads == kScxNone);
  const __u64 queue = fast ? kShared : kParking + index;
  thread->parked = queue;
  scx_bpf_dsq_insert(
      task, queue,
      fast ? control->fast_slice_ns : KERNELS(scx_public_consts, SCX_SLICE_INF),
      0);
}

// Without a message. The lock keeps the version's parity: a commit may write too.
static __noinline void SetWord(__u32 index, __u64 id, __u32 flags, __u32 core) {
  struct ScxThread* thread = bpf_map_lookup_elem(&threads, &index);
  struct ThreadLock* lock = bpf_map_lookup_elem(&locks, &index);
  if (!thread || !lock) return;
  bpf_spin_lock(&lock->lock);
  ++*(volatile __u32*)&thread->version;
  barrier();
  thread->word.thread = id;
  thread->word.flags = flags;
  thread->word.core = core;
  barrier();
  ++*(volatile __u32*)&thread->version;
  bpf_spin_unlock(&lock->lock);
}

SEC("struct_ops/select_cpu")
__s32 BPF_PROG(select_cpu, struct task_struct* task, __s32 previous,
               __u64 flags) {
  return previous;  // A commit decides.
}

// Whether the task must stay on its CPU for a moment. A program's own run counts as a
// reason for whoever is current, and cpu_release's for its task too.
static __always_inline bool IsBound(const struct task_struct* task,
                                    __u64 flags) {
  __u16 own = 0;
  if (bpf_get_current_task_btf() == task)
    own = flags & KERNELS(scx_enq_flags, SCX_ENQ_REENQ) ? 2 : 1;
  return task->migration_disabled > own;
}

SEC("struct_ops/enqueue")
void BPF_PROG(enqueue, struct task_struct* task, __u64 flags) {
  struct TaskState* state = StateOf(task);
  const __s32 cpu = scx_bpf_task_cpu(task);
  const __u32 core = CoreOf(cpu);
  __u32 index = 0;
  if (!state) goto unmanaged;
  if (state->slot == 0) {
    if (!Announce(task, state, core, kStatusRunnable)) goto unmanaged;
  } else {
    struct ScxThread* thread = ThreadOf(state, &index);
    if (!thread) goto unmanaged;
    const bool on_core = thread->word.flags & kStatusOnCore;
    if (flags & KERNELS(scx_enq_flags, SCX_ENQ_WAKEUP)) {
      Post(index, kThreadWakeup, kStatusRunnable, core, 0);
    } else if (on_core) {
      __u32 where = core;
      struct ScxCore* here = bpf_map_lookup_elem(&cores, &where);
      if ((flags & KERNELS(scx_enq_flags, SCX_ENQ_REENQ)) && here &&
          here->agent_preempts && core < kScxCpus &&
          scx_bpf_dsq_nr_queued(kCores + core) == 0) {
        scx_bpf_dsq_insert(task, kCores + core,
                           KERNELS(scx_public_consts, SCX_SLICE_INF), 0);
        return;
      }
      Post(index, state->yields ? kThreadYield : kThreadPreempted,
           kStatusRunnable, core, 0);
    }
    // Otherwise it has waited, and waits on: its affinity or the like has changed.
    state->yields = 0;
  }
  struct ScxThread* thread = ThreadOf(state, &index);
  if (thread) {
    if (IsBound(task, flags)) {
      scx_bpf_dsq_insert(task, KERNELS(scx_dsq_id_flags, SCX_DSQ_LOCAL),
                         KERNELS(scx_public_consts, SCX_SLICE_DFL), 0);
    } else {
      Park(task, index, thread);
    }
    return;
  }
unmanaged:
  scx_bpf_dsq_insert(task, KERNELS(scx_dsq_id_flags, SCX_DSQ_GLOBAL),
                     KERNELS(scx_public_consts, SCX_SLICE_DFL), 0);
}

// Nobody else has the core.
static __always_inline void Released(struct ScxCore* core, __u32 number) {
  if (!core->busy) return;
  core->busy = 0;
  PostCore(core, number, kCoreAvailable);
}

SEC("struct_ops/dispatch")
void BPF_PROG(dispatch, __s32 cpu, struct task_struct* previous) {
  __u32 core = CoreOf(cpu);
  struct ScxCore* self = bpf_map_lookup_elem(&cores, &core);
  if (!self) return;
  Released(self, core);
  if (scx_bpf_dsq_move_to_local(kCores + core)) return;
  struct ScxControl* control = Control();
  if (scx_bpf_dsq_move_to_local(kShared) && control)
    __sync_fetch_and_add(&control->fast_served, 1);
}

SEC("struct_ops/tick")
void BPF_PROG(tick, struct task_struct* task) {
  struct ScxControl* control = Control();
  if (!control || !control->ticks) return;
  __u32 number = CoreOf(scx_bpf_task_cpu(task));
  struct ScxCore* core = bpf_map_lookup_elem(&cores, &number);
  if (core) PostCore(core, number, kTimerTick);
}

SEC("struct_ops/running")
void BPF_PROG(running, struct task_struct* task) {
  __u32 index = 0;
  struct ScxThread* thread = ThreadOf(StateOf(task), &index);
  if (!thread) return;
  const __s32 cpu = scx_bpf_task_cpu(task);
  const __u32 core = CoreOf(cpu);
  SetWord(index, thread->word.thread, kStatusRunnable | kStatusOnCore, core);
  // Another was sent here while an agent stood in the way: it is its turn.
  if (core < kScxCpus && scx_bpf_dsq_nr_queued(kCores + core) > 0)
    scx_bpf_kick_cpu(cpu, KERNELS(scx_kick_flags, SCX_KICK_PREEMPT));
}

SEC("struct_ops/stopping")
void BPF_PROG(stopping, struct task_struct* task, bool runnable) {
  __u32 index = 0;
  struct ScxThread* thread = ThreadOf(StateOf(task), &index);
  if (thread) thread->word.ran_ns = task->se.sum_exec_runtime;
}

SEC("struct_ops/quiescent")
void BPF_PROG(quiescent, struct task_struct* task, __u64 flags) {
  if (!(flags & KERNELS(scx_deq_flags, SCX_DEQ_SLEEP))) return;
  struct TaskState* state = StateOf(task);
  const __u32 core = CoreOf(scx_bpf_task_cpu(task));
  __u32 index = 0;
  struct ScxThread* thread = ThreadOf(state, &index);
  if (thread) {
    Post(index, kThreadBlocked, 0, core, 0);
  } else if (state && !(task->flags & kExiting)) {
    Announce(task, state, core, 0);
  }
}

SEC("struct_ops/yield")
bool BPF_PROG(yield, struct task_struct* from, struct task_struct* to) {
  struct TaskState* state = StateOf(from);
  if (to) return false;
  if (state) state->yields = 1;
  from->scx.slice = 0;
  return false;
}

SEC("struct_ops/set_weight")
void BPF_PROG(set_weight, struct task_struct* task, __u32 weight) {
  __u32 index = 0;
  struct ScxThread* thread = ThreadOf(StateOf(task), &index);
  if (!thread || thread->word.weight == WeightOf(weight)) return;
  thread->word.weight = WeightOf(weight);
  Post(index, kThreadPriority, thread->word.flags, kScxNone, 0);
}

SEC("struct_ops/set_cpumask")
void BPF_PROG(set_cpumask, struct task_struct* task,
              const struct cpumask* mask) {
  __u32 index = 0;
  struct ScxThread* thread = ThreadOf(StateOf(task), &index);
  if (!thread) return;
  // The kernel tells of it when a thread joins, too.
  if (!NoteAffinity(thread, mask)) return;
  Post(index, kThreadAffinity, thread->word.flags, kScxNone, 0);
}

SEC("struct_ops/cpu_acquire")
void BPF_PROG(cpu_acquire, __s32 cpu, struct scx_cpu_acquire_args* args) {
  __u32 number = CoreOf(cpu);
  struct ScxCore* core = bpf_map_lookup_elem(&cores, &number);
  if (core) Released(core, number);
}

SEC("struct_ops/cpu_release")
void BPF_PROG(cpu_release, __s32 cpu, struct scx_cpu_release_args* args) {
  __u32 number = CoreOf(cpu);
  struct ScxCore* core = bpf_map_lookup_elem(&cores, &number);
  struct ScxControl* control = Control();
  struct task_struct* next = args->task;
  const bool agent =
      control && next && (__u32)next->tgid == control->agent_process;
  if (core) core->agent_preempts = agent;
  scx_bpf_reenqueue_local();
  if (!core || agent) return;
  core->busy = 1;
  PostCore(core, number, kCoreBusy);
}

SEC("struct_ops.s/init_task")
__s32 BPF_PROG(init_task, struct task_struct* task,
               struct scx_init_task_args* args) {
  struct TaskState* state =
      bpf_task_storage_get(&tasks, task, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
  if (!state) return -12;  // ENOMEM
  if (args->fork) state->parent = bpf_get_current_task_btf()->pid;
  return 0;
}

SEC("struct_ops/enable")
void BPF_PROG(enable, struct task_struct* task) {
  // It may run, and nobody has sent it there.
  task->scx.slice = 0;
  if (scx_bpf_task_running(task))
    scx_bpf_kick_cpu(scx_bpf_task_cpu(task),
                     KERNELS(scx_kick_flags, SCX_KICK_PREEMPT));
  // One that sleeps joins too. One that is about to run first tells then.
  struct TaskState* state = StateOf(task);
  if (state && state->slot == 0 && !task->on_rq && task->__state != kNewTask &&
      !(task->flags & kExiting))
    Announce(task, state, CoreOf(scx_bpf_task_cpu(task)), 0);
}

SEC("struct_ops/disable")
void BPF_PROG(disable, struct task_struct* task) {
  struct TaskState* state = StateOf(task);
  __u32 index = 0;
  struct ScxThread* thread = ThreadOf(state, &index);
  if (!thread) return;
  Post(index, task->flags & kExiting ? kThreadDead : kThreadDeparted, 0,
       kScxNone, 0);
  state->slot = 0;
  SetWord(index, 0, 0, kScxNone);
  bpf_map_push_elem(&free_slots, &index, 0);
}

SEC("struct_ops.s/init")
__s32 BPF_PROG(init) {
  struct ScxControl* control = Control();
  int i;
  if (!control || control->abi != kNativeAbiVersion) return -22;  // EINVAL
  bpf_for(i, 0, (int)control->max_threads) {
    const __s32 failed = scx_bpf_create_dsq(kParking + i, -1);
    if (failed) return failed;
  }
  bpf_for(i, 0, (int)control->cores) {
    const __s32 failed = scx_bpf_create_dsq(kCores + i, -1);
    if (failed) return failed;
  }
  return scx_bpf_create_dsq(kShared, -1);
}

SEC("struct_ops/exit")
void BPF_PROG(scheduler_exit, struct scx_exit_info* info) {
  struct ScxControl* control = Control();
  if (!control) return;
  bpf_probe_read_kernel_str(control->exit_reason, sizeof(control->exit_reason),
                            info->reason);
  bpf_probe_read_kernel_str(control->exit_message,
                            sizeof(control->exit_message), info->msg);
  control->exit_kind = info->kind;
}

// ---- What agents run --------------------------------------------------------

// Whoever was sent to `core` and has not got there goes back: another takes its place.
static __noinline void Evict(__u32 core) {
  struct bpf_iter_scx_dsq it;
  int i;
  bpf_iter_scx_dsq_new(&it, kCores + core, 0);
  bpf_for(i, 0, 4) {
    struct task_struct* task = bpf_iter_scx_dsq_next(&it);
    if (!task) break;
    __u32 index = 0;
    struct ScxThread* thread = ThreadOf(StateOf(task), &index);
    if (!thread) continue;
    const __u64 latch = thread->latch;
    thread->parked = kParking + index;
    if (scx_bpf_dsq_move(&it, task, kParking + index, 0))
      Post(index, kThreadPreempted, kStatusRunnable, core, latch);
  }
  bpf_iter_scx_dsq_destroy(&it);
}

// Moves the thread, if it is still the same and nothing has happened to it since the
// iterator was made: it would have been enqueued anew, and the move then fails.
static __noinline __u32 Move(__u32 index, __u64 queue, __u32 number,
                             const struct Transaction* transaction) {
  struct ScxThread* thread = bpf_map_lookup_elem(&threads, &index);
  struct ThreadLock* lock = bpf_map_lookup_elem(&locks, &index);
  struct ScxCore* core = bpf_map_lookup_elem(&cores, &number);
  struct ScxControl* control = Control();
  struct bpf_iter_scx_dsq it;
  __u32 result = kCommitNotRunnable;
  int i;
  if (!thread || !lock || !core || !control || !transaction)
    return kCommitNotFound;
  bpf_iter_scx_dsq_new(&it, queue, 0);
  bpf_for(i, 0, kFastDepth) {
    struct task_struct* task = bpf_iter_scx_dsq_next(&it);
    if (!task) break;
    struct TaskState* state = StateOf(task);
    if (!state || state->slot != index + 1) continue;
    const struct cpumask* mask = task->cpus_ptr;
    const __u32 cpu = core->cpu;
    if (!bpf_cpumask_test_cpu(cpu, mask)) {
      result = kCommitNotPermitted;
      break;
    }
    const __u64 latch = __sync_fetch_and_add(&control->latches, 1) + 1;
    bpf_spin_lock(&lock->lock);
    if (thread->word.thread != transaction->thread) {
      result = kCommitNotFound;
    } else if ((transaction->flags & kCheckThread) &&
               thread->word.sequence != transaction->thread_sequence) {
      result = kCommitStaleThread;
    } else {
      ++*(volatile __u32*)&thread->version;
      barrier();
      thread->latch = latch;
      thread->word.flags = kStatusRunnable | kStatusOnCore;
      thread->word.core = number;
      barrier();
      ++*(volatile __u32*)&thread->version;
      result = kCommitted;
    }
    bpf_spin_unlock(&lock->lock);
    if (result != kCommitted) break;
    scx_bpf_dsq_move_set_slice(&it, KERNELS(scx_public_consts, SCX_SLICE_INF));
    if (!scx_bpf_dsq_move(&it, task, kCores + number, 0)) {
      // It left meanwhile. Unless it has been seen since, it waits as before.
      bpf_spin_lock(&lock->lock);
      if (thread->latch == latch) {
        thread->latch = 0;
        thread->word.flags = kStatusRunnable;
      }
      bpf_spin_unlock(&lock->lock);
      result = kCommitNotRunnable;
    }
    break;
  }
  bpf_iter_scx_dsq_destroy(&it);
  return result;
}

// Whether a higher class has the CPU, agents left aside. When it came while the CPU was
// idle no callback told. Requires: RCU's lock.
static __always_inline bool IsForeign(__u32 cpu) {
  struct ScxControl* control = Control();
  if (!control || !bpf_ksym_exists(scx_bpf_cpu_curr)) return false;
  struct task_struct* current = scx_bpf_cpu_curr(cpu);
  return current && current->pid != 0 && current->policy != kSchedExt &&
         (__u32)current->tgid != control->agent_process;
}

static __always_inline void Occupied(struct ScxCore* core, __u32 number) {
  // In this order: the core itself says when it is available, at any time from here on.
  PostCore(core, number, kCoreBusy);
  core->busy = 1;
  // If it has just left: the core looks again, and says so.
  scx_bpf_kick_cpu(core->cpu, 0);
}

static __noinline __u32 CommitOne(const struct Transaction* transaction) {
  struct ScxControl* control = Control();
  if (!transaction || !control) return kCommitNotFound;
  __u32 number = transaction->core;
  if (number >= control->cores) return kCommitBadCore;
  struct ScxCore* core = bpf_map_lookup_elem(&cores, &number);
  if (!core) return kCommitBadCore;
  if (transaction->flags & kCheckAgent) {
    __u32 by = transaction->agent;
    const struct ScxCore* agent = bpf_map_lookup_elem(&cores, &by);
    if (!agent || by >= control->cores ||
        agent->agent_sequence != transaction->agent_sequence)
      return kCommitStaleAgent;
  }
  __u32 index = transaction->thread;
  const struct ScxThread* thread = bpf_map_lookup_elem(&threads, &index);
  if (transaction->thread == 0 || !thread ||
      thread->word.thread != transaction->thread)
    return kCommitNotFound;
  if ((transaction->flags & kCheckThread) &&
      thread->word.sequence != transaction->thread_sequence)
    return kCommitStaleThread;
  if (core->busy) return kCommitUnavailable;
  if (thread->word.flags & kStatusOnCore) return kCommitOnCore;
  if (!(thread->word.flags & kStatusRunnable)) return kCommitNotRunnable;
  bpf_rcu_read_lock();
  if (IsForeign(core->cpu)) {
    bpf_rcu_read_unlock();
    Occupied(core, number);
    return kCommitUnavailable;
  }
  Evict(number);
  const __u32 result = Move(index, thread->parked, number, transaction);
  bpf_rcu_read_unlock();
  if (result == kCommitted)
    scx_bpf_kick_cpu(core->cpu, KERNELS(scx_kick_flags, SCX_KICK_PREEMPT));
  return result;
}

SEC("syscall")
int commit(struct ScxCommitArguments* arguments) {
  const __u32 first = arguments->first;
  const __u32 count = arguments->count;
  int i;
  bpf_for(i, 0, kScxGroup) {
    if ((__u32)i >= count) break;
    __u32 key = first + i;
    struct Transaction* transaction = bpf_map_lookup_elem(&transactions, &key);
    if (!transaction) break;
    transaction->result = CommitOne(transaction);
  }
  return 0;
}

// Whoever was sent to a core that a higher class took just before goes back, since no
// callback tells of that. Returns to how many cores somebody is on the way.
SEC("syscall")
int sweep(void* arguments) {
  struct ScxControl* control = Control();
  int on_the_way = 0;
  int i;
  if (!control) return 0;
  bpf_for(i, 0, kScxCpus) {
    if ((__u32)i >= control->cores) break;
    if (scx_bpf_dsq_nr_queued(kCores + i) <= 0) continue;
    ++on_the_way;
    __u32 number = i;
    struct ScxCore* core = bpf_map_lookup_elem(&cores, &number);
    if (!core) break;
    bpf_rcu_read_lock();
    const bool foreign = !core->busy && IsForeign(core->cpu);
    if (foreign || core->busy) Evict(number);
    bpf_rcu_read_unlock();
    if (foreign) Occupied(core, number);
  }
  return on_the_way;
}

SEC("syscall")
int associate(struct ScxAssociateArguments* arguments) {
  const __u64 wanted = arguments->thread;
  const __u32 queue = arguments->queue;
  const __u32 sequence = arguments->sequence;
  __u32 index = wanted;
  struct ScxThread* thread = bpf_map_lookup_elem(&threads, &index);
  struct ThreadLock* lock = bpf_map_lookup_elem(&locks, &index);
  struct ScxQueue* state = bpf_map_lookup_elem(&queue_states, &queue);
  if (wanted == 0 || !thread || !lock || !state || !state->alive)
    return kScxNotFound;
  int result = kScxDone;
  bpf_spin_lock(&lock->lock);
  if (thread->word.thread != wanted) {
    result = kScxNotFound;
  } else if (thread->queue != kScxNone && thread->posted != thread->received) {
    result = kScxPending;
  } else if (thread->word.sequence != sequence) {
    result = kScxStale;
  } else {
    thread->queue = queue;
    thread->posted = thread->received;
  }
  bpf_spin_unlock(&lock->lock);
  return result;
}

SEC(".struct_ops.link")
struct sched_ext_ops yamanote = {
    .select_cpu = (void*)select_cpu,
    .enqueue = (void*)enqueue,
    .dispatch = (void*)dispatch,
    .tick = (void*)tick,
    .running = (void*)running,
    .stopping = (void*)stopping,
    .quiescent = (void*)quiescent,
    .yield = (void*)yield,
    .set_weight = (void*)set_weight,
    .set_cpumask = (void*)set_cpumask,
    .cpu_acquire = (void*)cpu_acquire,
    .cpu_release = (void*)cpu_release,
    .init_task = (void*)init_task,
    .enable = (void*)enable,
    .disable = (void*)disable,
    .init = (void*)init,
    .exit = (void*)scheduler_exit,
    .name = "yamanote",
};
