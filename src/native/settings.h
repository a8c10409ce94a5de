// settings.h - how one thread of any process is scheduled: class, nice, affinity.
//
// Everything here is a few system calls without locks or allocation, so the guardian may
// call it after fork(). A call returns 0 or the errno.
//
// Source: sched_setattr(2), sched_setaffinity(2).

#pragma once

#include <sys/types.h>

#include <cstdint>

#include "native/bpf/tracing_abi.h"

namespace yamanote::native {

// True if Restore() can bring such settings back: the classes without a real-time
// priority or a deadline.
bool IsOrdinary(const TracedSettings& settings);

// Reads how `tid`, 0: the caller, is scheduled. `default_runtime`: what the kernel answers
// for a thread that has asked for no slice of its own, 0: it answers none; such a thread
// gets none back.
int ReadSettings(pid_t tid, uint64_t default_runtime, TracedSettings& settings);

// Brings `settings` up to date with what the thread has asked for itself since: another
// ordinary class or nice value. False: it has a class of its own now.
bool NoticeClass(pid_t tid, uint64_t default_runtime, TracedSettings& settings);
int ReadAffinity(pid_t tid, uint64_t (&mask)[kTracedMaskWords]);

// Class, nice value and slice as `settings` say; the affinity stays.
int RestoreClass(pid_t tid, const TracedSettings& settings);
int SetAffinity(pid_t tid, const uint64_t (&mask)[kTracedMaskWords]);
int PinTo(pid_t tid, unsigned cpu);

// Real time, first in first out. What `tid` forks is of the ordinary class.
int MakeFifo(pid_t tid, unsigned priority);

inline bool MaskHas(const uint64_t (&mask)[kTracedMaskWords], unsigned cpu) {
  return cpu < kTracedCpus && (mask[cpu / 64] >> (cpu % 64) & 1) != 0;
}
inline void MaskAdd(uint64_t (&mask)[kTracedMaskWords], unsigned cpu) {
  mask[cpu / 64] |= uint64_t{1} << (cpu % 64);
}

// CLOCK_MONOTONIC, which processes and BPF programs share.
uint64_t MonotonicNanos();

}  // namespace yamanote::native
