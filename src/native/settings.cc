// settings.cc - the system calls that say how a thread is scheduled.

#include "native/settings.h"

#include <linux/sched.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace yamanote::native {

namespace {

// The kernel's struct sched_attr in its first size; no header of glibc has it.
struct SchedulingAttributes {
  uint32_t size;
  uint32_t policy;
  uint64_t flags;
  int32_t nice;
  uint32_t priority;
  uint64_t runtime;
  uint64_t deadline;
  uint64_t period;
};
static_assert(sizeof(SchedulingAttributes) == 48);

int SetAttributes(pid_t tid, SchedulingAttributes& attributes) {
  attributes.size = sizeof(SchedulingAttributes);
  return syscall(SYS_sched_setattr, tid, &attributes, 0) == 0 ? 0 : errno;
}

}  // namespace

bool IsOrdinary(const TracedSettings& settings) {
  return settings.policy == SCHED_OTHER || settings.policy == SCHED_BATCH ||
         settings.policy == SCHED_IDLE;
}

int ReadSettings(pid_t tid, uint64_t default_runtime,
                 TracedSettings& settings) {
  SchedulingAttributes attributes{};
  if (syscall(SYS_sched_getattr, tid, &attributes, sizeof attributes, 0) != 0)
    return errno;
  settings = {};
  settings.policy = attributes.policy;
  settings.nice = attributes.nice;
  settings.flags = attributes.flags & SCHED_FLAG_RESET_ON_FORK;
  if (attributes.runtime != default_runtime)
    settings.runtime = attributes.runtime;
  const long length = syscall(SYS_sched_getaffinity, tid,
                              sizeof settings.affinity, settings.affinity);
  return length < 0 ? errno : 0;
}

int RestoreClass(pid_t tid, const TracedSettings& settings) {
  SchedulingAttributes attributes{};
  attributes.policy = settings.policy;
  attributes.nice = settings.nice;
  attributes.flags = settings.flags;
  attributes.runtime = settings.runtime;
  return SetAttributes(tid, attributes);
}

int SetAffinity(pid_t tid, const uint64_t (&mask)[kTracedMaskWords]) {
  return syscall(SYS_sched_setaffinity, tid, sizeof mask, mask) == 0 ? 0
                                                                     : errno;
}

int PinTo(pid_t tid, unsigned cpu) {
  uint64_t mask[kTracedMaskWords] = {};
  MaskAdd(mask, cpu);
  return SetAffinity(tid, mask);
}

int MakeFifo(pid_t tid, unsigned priority) {
  SchedulingAttributes attributes{};
  attributes.policy = SCHED_FIFO;
  attributes.flags = SCHED_FLAG_RESET_ON_FORK;
  attributes.priority = priority;
  return SetAttributes(tid, attributes);
}

uint64_t MonotonicNanos() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 +
         static_cast<uint64_t>(now.tv_nsec);
}

}  // namespace yamanote::native
