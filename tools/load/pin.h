// pin.h - keeps the calling thread on one CPU.

#pragma once

#include <pthread.h>
#include <sched.h>

#include <cstddef>

namespace yamanote::load {

// Requires: the process may use `cpu`; --cpus was checked when it was read.
inline void PinCurrentThread(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<size_t>(cpu), &set);
  pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

}  // namespace yamanote::load
