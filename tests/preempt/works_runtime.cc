// works_runtime.cc - Yamanote's own calls, by tasks that are preempted before,
// between and after them.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <mutex>
#include <vector>

#include "tests/preempt/visits.h"
#include "tests/preempt/works.h"
#include "yamanote/condition_variable.h"
#include "yamanote/mutex.h"
#include "yamanote/preempt.h"
#include "yamanote/rcu.h"
#include "yamanote/semaphore.h"
#include "yamanote/task_local.h"
#include "yamanote/thread.h"

namespace yamanote::tests {
namespace {

using namespace std::chrono_literals;

// Threads that end while they are asked to give way.
bool SpawnAndJoin(unsigned task, unsigned) {
  std::atomic<unsigned> sum{0};
  std::vector<Thread> threads;
  for (unsigned i = 0; i < 4; ++i) {
    threads.emplace_back([&sum, task, i] {
      Linger(static_cast<int>(task % 7));
      sum += i + 1;
    });
  }
  Linger(10);
  for (Thread& thread : threads) thread.join();
  return sum == 1 + 2 + 3 + 4;
}

bool Semaphores(unsigned, unsigned) {
  CountingSemaphore<> ping(0);
  CountingSemaphore<> pong(0);
  unsigned turns = 0;  // Whose turn it is orders the accesses.
  Thread other([&] {
    for (int i = Unknown(5); i > 0; --i) {
      ping.acquire();
      ++turns;
      Linger(3);
      pong.release();
    }
  });
  bool right = true;
  for (unsigned i = 0; i < 5; ++i) {
    right = right && turns == i;
    ping.release();
    Linger(3);
    pong.acquire();
  }
  other.join();
  return right && turns == 5;
}

bool ConditionVariables(unsigned task, unsigned) {
  yamanote::Mutex mutex;
  ConditionVariable filled;
  std::deque<unsigned> queue;  // Guarded by mutex.
  Thread producer([&] {
    for (unsigned i = 0; i < 8; ++i) {
      Linger(5);
      const std::lock_guard guard(mutex);
      queue.push_back(task + i);
      filled.notify_one();
    }
  });
  bool right = true;
  for (unsigned i = 0; i < 8; ++i) {
    std::unique_lock lock(mutex);
    filled.wait(lock, [&] { return !queue.empty(); });
    right = right && queue.front() == task + i;
    queue.pop_front();
  }
  producer.join();
  return right;
}

struct Version {
  uint64_t first;
  uint64_t second;
};
std::atomic<const Version*> g_version{new Version{0, 0}};

// What a reader finds stays as long as it reads, and is not half of two.
bool ReadCopyUpdate(unsigned task, unsigned round) {
  if (task % 4 == 0 && round % 4 == 0) {
    const uint64_t number = uint64_t{task} << 32 | round;
    Rcu::retire(g_version.exchange(new Version{number, number},
                                   std::memory_order_acq_rel));
  }
  bool right = true;
  for (int i = Unknown(10); i > 0; --i) {
    {
      const RcuReader reader;
      const Version* const version = g_version.load(std::memory_order_acquire);
      const uint64_t first = version->first;
      Linger(20);
      right = right && first == version->second;
    }
    Linger(5);
  }
  return right;
}

bool TaskLocals(unsigned, unsigned) {
  static TaskLocal<uint64_t> steps;
  const uint64_t before = *steps;
  for (int i = Unknown(30); i > 0; --i) ++*steps;
  return *steps == before + 30;
}

bool Sleeps(unsigned task, unsigned) {
  const Instant before = Clock::now();
  const Duration time = std::chrono::microseconds(1 + task % 20);
  Linger(5);
  this_thread::sleep_for(time);
  Linger(5);
  return Clock::now() - before >= time;
}

// The guard is the task's: it blocks, others run, and it goes on with its guard.
bool GuardedBlocks(unsigned task, unsigned) {
  static Visits visits;
  bool right = true;
  for (int i = Unknown(4); i > 0; --i) {
    const NoPreempt guard;
    Linger(5);
    if (task % 2 == 0) {
      this_thread::yield();
    } else {
      CountingSemaphore<> done(0);
      Thread other([&done] {
        Linger(5);
        done.release();
      });
      done.acquire();
      other.join();
    }
    // In one go from here on.
    const Visits::Stretch stretch = visits.Begin();
    Linger(20);
    right = right && visits.Undisturbed(stretch);
  }
  return right;
}

}  // namespace

std::vector<NamedWork> RuntimeWorks() {
  return {{"spawn_join", &SpawnAndJoin},
          {"semaphore", &Semaphores},
          {"condition_variable", &ConditionVariables},
          {"rcu", &ReadCopyUpdate},
          {"task_local", &TaskLocals},
          {"sleep", &Sleeps},
          {"guarded_blocks", &GuardedBlocks}};
}

}  // namespace yamanote::tests
