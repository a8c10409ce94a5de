// backoff.h - how a kernel thread waits for another one that needs only a moment.
//
//   for (Backoff backoff; !done(); backoff.Wait()) {}
//
// It spins; after 1,000 spins it offers its core to the kernel, and again each 1,000; once
// that has helped little it sleeps 50 us at a time. The sleep is for who is preferred by
// the kernel (SCHED_FIFO, a lower nice value): the thread that it waits for may be waiting
// for this very core, and would not get it from a thread that only yields.

#pragma once

#include "base/cpu.h"

namespace yamanote::base {

class Backoff {
 public:
  void Wait() {
    Pause();
    if (++spins_ % kSpins == 0) GiveWay();
  }
  // At once to the kernel.
  void GiveWay();

 private:
  static constexpr unsigned kSpins = 1000;
  static constexpr unsigned kYields = 8;

  unsigned spins_ = 0;
  unsigned yields_ = 0;
};

}  // namespace yamanote::base
