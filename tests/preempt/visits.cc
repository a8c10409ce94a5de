// visits.cc - the counts of visits.h.

#include "tests/preempt/visits.h"

#include <pthread.h>

#include "worker/worker.h"

namespace yamanote::tests {

// Relaxed, all: what is asked is whether the same kernel thread did something else.
Visits::Stretch Visits::Begin() {
  const CoreId core = worker::Worker::This()->core();
  std::atomic<uint64_t>& count = counts_.at(core);
  return {.core = core,
          .count = count.fetch_add(1, std::memory_order_relaxed) + 1};
}

bool Visits::Undisturbed(const Stretch& stretch) const {
  return worker::Worker::This()->core() == stretch.core &&
         counts_.at(stretch.core).load(std::memory_order_relaxed) ==
             stretch.count;
}

std::thread SignalThisThread(int signal) {
  return std::thread(
      [to = pthread_self(), signal] { pthread_kill(to, signal); });
}

}  // namespace yamanote::tests
