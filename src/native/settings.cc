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

namespace {

int ReadClass(pid_t tid, uint64_t default_runtime, TracedSettings& settings) {
  SchedulingAttributes attributes{};
  if (syscall(SYS_sched_getattr, tid, &attributes, sizeof attributes, 0) != 0)
    return errno;
  settings.policy = attributes.policy;
  settings.nice = attributes.nice;
  settings.flags = attributes.flags & SCHED_FLAG_RESET_ON_FORK;
  settings.runtime =
      attributes.runtime != default_runtime ? attributes.runtime : 0;
  return 0;
}

}  // namespace

int ReadAffinity(pid_t tid, uint64_t (&mask)[kTracedMaskWords]) {
  std::memset(mask, 0, sizeof mask);
  return syscall(SYS_sched_getaffinity, tid, sizeof mask, mask) < 0 ? errno : 0;
}

int ReadSettings(pid_t tid, uint64_t default_runtime,
                 TracedSettings& settings) {
  settings = {};
  const int failed = ReadClass(tid, default_runtime, settings);
  return failed != 0 ? failed : ReadAffinity(tid, settings.affinity);
}

bool NoticeClass(pid_t tid, uint64_t default_runtime,
                 TracedSettings& settings) {
  TracedSettings now = settings;
  if (ReadClass(tid, default_runtime, now) != 0) return true;
  if (!IsOrdinary(now)) return false;
  settings.policy = now.policy;
  settings.nice = now.nice;
  settings.flags = now.flags;
  settings.runtime = now.runtime;
  return true;
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
