// scx_kernel.h - what the sched_ext programs know of the kernel, in BPF's C.
//
// Only the fields that are used: when the programs are loaded, libbpf finds each by name
// in the kernel's type information, and enumerators' values too. So one object serves all
// kernels that have them.

#pragma once

// clang-format off: libbpf's headers use the types of the kernel's.
#include <linux/bpf.h>
#include <linux/types.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>
// clang-format on

enum scx_exit_kind { SCX_EXIT_NONE };

#pragma clang attribute push(__attribute__((preserve_access_index)), \
                             apply_to = record)

struct cpumask {
  unsigned long bits[4];
};

struct sched_entity {
  __u64 sum_exec_runtime;
};

struct sched_ext_entity {
  __u64 slice;
  __u32 weight;
};

struct task_struct {
  unsigned int __state;
  unsigned int flags;
  int on_rq;
  int pid;
  int tgid;
  unsigned int policy;
  const struct cpumask* cpus_ptr;
  unsigned short migration_disabled;
  struct sched_entity se;
  struct sched_ext_entity scx;
};

struct scx_cpu_release_args {
  struct task_struct* task;
};

struct scx_exit_info {
  enum scx_exit_kind kind;
  const char* reason;
  char* msg;
};

struct scx_init_task_args {
  bool fork;
};

struct scx_cpu_acquire_args;
struct scx_exit_task_args;

#pragma clang attribute pop

// Only named; libbpf finds the members by name.
struct sched_ext_ops {
  __s32 (*select_cpu)(struct task_struct*, __s32, __u64);
  void (*enqueue)(struct task_struct*, __u64);
  void (*dispatch)(__s32, struct task_struct*);
  void (*tick)(struct task_struct*);
  void (*running)(struct task_struct*);
  void (*stopping)(struct task_struct*, bool);
  void (*quiescent)(struct task_struct*, __u64);
  bool (*yield)(struct task_struct*, struct task_struct*);
  void (*set_weight)(struct task_struct*, __u32);
  void (*set_cpumask)(struct task_struct*, const struct cpumask*);
  void (*cpu_acquire)(__s32, struct scx_cpu_acquire_args*);
  void (*cpu_release)(__s32, struct scx_cpu_release_args*);
  __s32 (*init_task)(struct task_struct*, struct scx_init_task_args*);
  void (*enable)(struct task_struct*);
  void (*disable)(struct task_struct*);
  __s32 (*init)(void);
  void (*exit)(struct scx_exit_info*);
  __u64 flags;
  __u32 timeout_ms;
  char name[128];
};

// The values are the kernel's, see above; those here are never used.
enum scx_enq_flags { SCX_ENQ_WAKEUP = 1, SCX_ENQ_REENQ = 1ULL << 40 };
enum scx_deq_flags { SCX_DEQ_SLEEP = 1 };
enum scx_kick_flags { SCX_KICK_PREEMPT = 2 };
enum scx_dsq_id_flags {
  SCX_DSQ_GLOBAL = 0x8000000000000001ULL,
  SCX_DSQ_LOCAL = 0x8000000000000002ULL,
};
enum scx_public_consts {
  SCX_SLICE_DFL = 20000000ULL,
  SCX_SLICE_INF = 0xffffffffffffffffULL,
};
#define KERNELS(type, name) bpf_core_enum_value(enum type, name)

// Larger than any kernel's.
struct bpf_iter_scx_dsq {
  __u64 opaque[8];
} __attribute__((aligned(8)));

struct bpf_iter_num {
  __u64 opaque[1];
} __attribute__((aligned(8)));

extern int bpf_iter_num_new(struct bpf_iter_num* it, int start, int end) __ksym;
extern int* bpf_iter_num_next(struct bpf_iter_num* it) __ksym;
extern void bpf_iter_num_destroy(struct bpf_iter_num* it) __ksym;
extern int bpf_iter_scx_dsq_new(struct bpf_iter_scx_dsq* it, __u64 dsq,
                                __u64 flags) __ksym;
extern struct task_struct* bpf_iter_scx_dsq_next(
    struct bpf_iter_scx_dsq* it) __ksym;
extern void bpf_iter_scx_dsq_destroy(struct bpf_iter_scx_dsq* it) __ksym;
extern void bpf_rcu_read_lock(void) __ksym;
extern void bpf_rcu_read_unlock(void) __ksym;
extern bool bpf_cpumask_test_cpu(__u32 cpu, const struct cpumask* mask) __ksym;
extern __s32 scx_bpf_create_dsq(__u64 dsq, __s32 node) __ksym;
extern void scx_bpf_dsq_insert(struct task_struct* task, __u64 dsq, __u64 slice,
                               __u64 flags) __ksym;
extern bool scx_bpf_dsq_move(struct bpf_iter_scx_dsq* it,
                             struct task_struct* task, __u64 dsq,
                             __u64 flags) __ksym;
extern void scx_bpf_dsq_move_set_slice(struct bpf_iter_scx_dsq* it,
                                       __u64 slice) __ksym;
extern bool scx_bpf_dsq_move_to_local(__u64 dsq) __ksym;
extern __s32 scx_bpf_dsq_nr_queued(__u64 dsq) __ksym;
extern __u32 scx_bpf_reenqueue_local(void) __ksym;
extern void scx_bpf_kick_cpu(__s32 cpu, __u64 flags) __ksym;
extern bool scx_bpf_task_running(const struct task_struct* task) __ksym;
// Since 6.18.
extern struct task_struct* scx_bpf_cpu_curr(__s32 cpu) __ksym __weak;
extern __s32 scx_bpf_task_cpu(const struct task_struct* task) __ksym;
