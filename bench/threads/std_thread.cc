// std_thread.cc - the thread benchmarks on kernel threads, pinned to the cores
// that are asked for.

#include <sched.h>

#include <condition_variable>
#include <mutex>
#include <thread>

#include "bench/threads/suite.h"

namespace {

struct Std {
  using Thread = std::thread;
  using Mutex = std::mutex;
  using ConditionVariable = std::condition_variable;
  static void Yield() { std::this_thread::yield(); }

  template <typename F>
  static void Run(int cores, F&& main) {
    cpu_set_t allowed;
    cpu_set_t set;
    CPU_ZERO(&set);
    sched_getaffinity(0, sizeof(allowed), &allowed);
    for (size_t cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&set) < cores; ++cpu) {
      if (CPU_ISSET(cpu, &allowed)) CPU_SET(cpu, &set);
    }
    sched_setaffinity(0, sizeof(set), &set);
    main();
  }
};

}  // namespace

// A kernel thread costs a hundred user threads: fewer rounds, and trees that do
// not run into the limit of processes.
int main(int argc, char** argv) {
  return bench::Main<Std>(argc, argv,
                          {.yields = 200'000,
                           .spawns = 5'000,
                           .handovers = 50'000,
                           .trees = 4,
                           .depth = 9});
}
