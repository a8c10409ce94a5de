// works_locks.cc - locks of the process, which stop the core of whoever waits.
//
// With one core each of these would stop for ever if a holder were preempted.

#include <pthread.h>

#include <atomic>
#include <mutex>
#include <shared_mutex>
#include <string>

#include "tests/preempt/works.h"
#include "yamanote/mutex.h"

namespace yamanote::tests {
namespace {

std::mutex g_mutex;
pthread_mutex_t g_pthread_mutex = PTHREAD_MUTEX_INITIALIZER;
std::recursive_mutex g_recursive;
std::shared_mutex g_shared;
yamanote::Mutex g_own;

// Increments in two steps under `lock`, so that a second holder would show.
template <typename Lock>
bool Count(Lock& lock, uint64_t& counter) {
  for (int i = 0; i < 10; ++i) {
    const std::lock_guard guard(lock);
    const uint64_t before = counter;
    Linger(20);
    if (counter != before) return false;
    counter = before + 1;
  }
  return true;
}

bool Mutex(unsigned, unsigned) {
  static uint64_t counter = 0;
  return Count(g_mutex, counter);
}

bool RecursiveMutex(unsigned, unsigned) {
  static uint64_t counter = 0;
  const std::lock_guard outer(g_recursive);
  return Count(g_recursive, counter);
}

bool PthreadMutex(unsigned, unsigned) {
  struct {
    void lock() { pthread_mutex_lock(&g_pthread_mutex); }
    void unlock() { pthread_mutex_unlock(&g_pthread_mutex); }
  } lock;
  static uint64_t counter = 0;
  return Count(lock, counter);
}

bool SharedMutex(unsigned task, unsigned) {
  static uint64_t first = 0;
  static uint64_t second = 0;
  if (task % 2 == 0) {
    const std::unique_lock writer(g_shared);
    ++first;
    Linger(20);
    ++second;
    return first == second;
  }
  const std::shared_lock reader(g_shared);
  Linger(20);
  return first == second;
}

// Yamanote's own: the holder is preempted, and others wait without their core.
bool OwnMutex(unsigned, unsigned) {
  static uint64_t counter = 0;
  return Count(g_own, counter);
}

// A spin lock of the program's own: who spins has probes, and so gives way.
bool SpinLock(unsigned, unsigned) {
  static std::atomic_flag locked;
  struct {
    void lock() {
      while (locked.test_and_set(std::memory_order_acquire)) {
      }
    }
    void unlock() { locked.clear(std::memory_order_release); }
  } lock;
  static uint64_t counter = 0;
  return Count(lock, counter);
}

bool LocalStatic(unsigned, unsigned round) {
  struct Slow {
    Slow() {
      Linger(5000);
      value = "made";
    }
    std::string value;
  };
  static const Slow slow;
  (void)round;
  Linger(20);
  return slow.value == "made";
}

[[gnu::noinline]] bool CallOneOnce(unsigned round) {
  constexpr unsigned kFlags = 64;
  static std::once_flag flags[kFlags];
  static std::atomic<int> calls[kFlags];
  const unsigned which = round % kFlags;
  std::call_once(flags[which], [&] {
    Linger(500);
    ++calls[which];
  });
  return calls[which] == 1;
}

bool CallOnce(unsigned, unsigned round) {
  const bool right = CallOneOnce(round);
  Linger(20);
  return right;
}

}  // namespace

std::vector<NamedWork> LockWorks() {
  return {{"mutex", &Mutex},
          {"recursive_mutex", &RecursiveMutex},
          {"pthread_mutex", &PthreadMutex},
          {"shared_mutex", &SharedMutex},
          {"own_mutex", &OwnMutex},
          {"spin_lock", &SpinLock},
          {"local_static", &LocalStatic},
          {"call_once", &CallOnce}};
}

}  // namespace yamanote::tests
