// rcu.cc - grace periods, and the thread that runs what waits for them.
//
// Protocol. A reader's record has a counter that is odd while a section is
// open.
//
//   reader                               synchronize()
//   R1 sections odd                      S1 the caller's stores (publication)
//   R2 compiler barrier                  S2 full barrier on all readers' cores
//   R3 load the pointer, use it          S3 read all counters
//   R4 sections even (release)           S4 wait until each odd one has changed
//
// S2 is membarrier(2). Either R3 comes after the barrier on its core and sees
// the publication, or R1 comes before it, is visible in S3, and S4 waits for R4
// (or sees a later value: release and acquire order R3 before the return).
// Where the kernel refuses membarrier, R2 is a full fence (5-10 ns) and S2 too.
//
// Counting reschedules of workers instead (McKenney's quiescent states, as
// Shenango does) was rejected: reading costs the same, because the check that
// no section blocks needs the depth anyway; a grace period would last as long
// as the longest-running task; idle workers would need to be told apart; and
// plain kernel threads would need this scheme besides.

#include "yamanote/rcu.h"

#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/cpu.h"
#include "base/spin_lock.h"
#include "preempt/flag.h"
#include "worker/sync/block.h"
#include "worker/sync/rcu_section.h"
#include "yamanote/condition_variable.h"
#include "yamanote/mutex.h"
#include "yamanote/semaphore.h"

namespace yamanote {
namespace worker {

extern "C" {
constinit thread_local RcuRecord* yamanote_rcu_record = nullptr;
}

}  // namespace worker

namespace {

using worker::OwnRcuRecord;
using worker::RcuRecord;

bool RegisterMembarrier() {
#if defined(__SANITIZE_THREAD__)
  return false;  // TSan sees neither membarrier nor compiler barriers.
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
  return false;
#endif
#endif
  return syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0,
                 0) == 0;
}

// All that is shared. Never destroyed: threads may read until the process ends.
class Registry {
 public:
  static Registry& Get() {
    static Registry& registry = *new Registry;
    return registry;
  }

  // Returns a record for the calling kernel thread.
  RcuRecord& Acquire() {
    const std::lock_guard guard(lock_);
    RcuRecord* record = first_;
    while (record != nullptr && record->in_use) record = record->next;
    if (record == nullptr) {
      record = new RcuRecord;
      record->needs_fence = !asymmetric_;
      record->next = first_;
      first_ = record;
    }
    record->in_use = true;
    return *record;
  }

  void Release(RcuRecord& record) {
    const std::lock_guard guard(lock_);
    record.in_use = false;
  }

  // S2 and S3: the counters that are odd.
  std::vector<std::pair<RcuRecord*, uint64_t>> OpenSections() {
    if (asymmetric_) {
      YAMANOTE_CHECK(
          syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0,
          "membarrier(2) was granted and then refused");
    }
    // Where there is no membarrier: pairs with the fence in Rcu::lock().
    std::atomic_thread_fence(std::memory_order_seq_cst);
    std::vector<std::pair<RcuRecord*, uint64_t>> open;
    RcuRecord* record;
    {
      const std::lock_guard guard(lock_);
      record = first_;
    }
    for (; record != nullptr; record = record->next) {
      // Acquire: pairs with unlock().
      const uint64_t sections =
          record->sections.load(std::memory_order_acquire);
      if (sections % 2 == 1) open.emplace_back(record, sections);
    }
    return open;
  }

 private:
  const bool asymmetric_ = RegisterMembarrier();
  base::SpinLock lock_;
  RcuRecord* first_ = nullptr;  // Guarded by lock_; records are never removed.
};

// Gives the record back when the kernel thread ends.
struct RecordOwner {
  ~RecordOwner() {
    RcuRecord* const record = OwnRcuRecord();
    if (record == nullptr) return;
    YAMANOTE_CHECK(record->depth == 0,
                   "a thread ended within an RCU read section");
    worker::yamanote_rcu_record = nullptr;
    Registry::Get().Release(*record);
  }
};

[[gnu::noinline]] RcuRecord& FirstSection() {
  static thread_local RecordOwner owner;
  static_cast<void>(&owner);  // Constructs it, so that it is destroyed.
  RcuRecord& record = Registry::Get().Acquire();
  worker::yamanote_rcu_record = &record;
  return record;
}

// Call() looks at the backlog once in so many calls: a lock less in the others.
constexpr uint64_t kCallsPerLook = 256;

// The reclaimer inherits core, class and signals of a worker; it is none.
void LeaveCreatorBehind() {
  cpu_set_t all;
  CPU_ZERO(&all);
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) CPU_SET(cpu, &all);
  // Failures leave a slower reclaimer, no wrong one.
  sched_setaffinity(0, sizeof all, &all);
  const sched_param normal{};
  sched_setscheduler(0, SCHED_OTHER, &normal);
  sigset_t signals;
  sigfillset(&signals);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  pthread_setname_np(pthread_self(), "yamanote-rcu");
}

constinit thread_local bool is_reclaimer = false;

bool Reading() {
  const RcuRecord* const record = OwnRcuRecord();
  return record != nullptr && record->depth > 0;
}

// Runs callbacks after grace periods. Never destroyed.
//
// call() is allowed within a read section, so what it needs is under a spin
// lock: a Mutex could be owned by a user thread that waits for the caller's
// core.
class Reclaimer {
 public:
  static Reclaimer& Get() {
    static Reclaimer& reclaimer = *new Reclaimer;
    return reclaimer;
  }

  void Call(void (*function)(void*), void* argument);
  void Barrier();

 private:
  struct Callback {
    void (*function)(void*);
    void* argument;
    Callback* next = nullptr;
  };

  bool EnsureThread();
  void Loop();
  Callback* TakeAll();

  // The first Call() sets it; cleared again if there was no thread to be had.
  std::atomic<bool> started_{false};
  BinarySemaphore work_{0};  // Released when the list becomes non-empty.

  base::SpinLock lock_;
  // Guarded by lock_: what was submitted and not yet taken, oldest first.
  Callback* first_ = nullptr;
  Callback* last_ = nullptr;
  uint64_t submitted_ = 0;

  Mutex finished_mutex_;
  ConditionVariable finished_changed_;
  uint64_t finished_ = 0;  // Guarded by finished_mutex_.
};

// Returns false if the system has no thread left; a later call tries again.
bool Reclaimer::EnsureThread() {
  // Acquire and release order nothing here: Loop() shares only what has locks.
  if (started_.load(std::memory_order_relaxed) || started_.exchange(true)) {
    return true;
  }
  try {
    std::thread([this] { Loop(); }).detach();
  } catch (const std::system_error&) {
    started_.store(false);
    return false;
  }
  return true;
}

Reclaimer::Callback* Reclaimer::TakeAll() {
  const std::lock_guard guard(lock_);
  last_ = nullptr;
  return std::exchange(first_, nullptr);
}

void Reclaimer::Loop() {
  is_reclaimer = true;
  LeaveCreatorBehind();
  for (;;) {
    work_.acquire();
    Callback* callback = TakeAll();
    Rcu::synchronize();
    uint64_t count = 0;
    while (callback != nullptr) {
      callback->function(callback->argument);
      delete std::exchange(callback, callback->next);
      ++count;
    }
    const std::lock_guard guard(finished_mutex_);
    finished_ += count;
    finished_changed_.notify_all();
  }
}

void Reclaimer::Call(void (*function)(void*), void* argument) {
  Callback* const callback = new Callback{function, argument};
  uint64_t number;
  bool was_empty;
  {
    const std::lock_guard guard(lock_);
    was_empty = first_ == nullptr;
    (was_empty ? first_ : last_->next) = callback;
    last_ = callback;
    number = ++submitted_;
  }
  if (was_empty) work_.release();
  if (!EnsureThread() || Reading() || is_reclaimer) return;
  if (number % kCallsPerLook != 0) return;
  std::unique_lock lock(finished_mutex_);
  finished_changed_.wait(
      lock, [&] { return number - finished_ <= Rcu::kMaxPending; });
}

void Reclaimer::Barrier() {
  YAMANOTE_CHECK(!is_reclaimer, "an RCU callback calls Rcu::barrier()");
  YAMANOTE_CHECK(EnsureThread(),
                 "Rcu::barrier() finds no thread to run callbacks; raise the "
                 "limit on threads (ulimit -u)");
  uint64_t target;
  {
    const std::lock_guard guard(lock_);
    target = submitted_;
  }
  std::unique_lock lock(finished_mutex_);
  finished_changed_.wait(lock, [&] { return finished_ >= target; });
}

}  // namespace

void Rcu::lock() noexcept {
  RcuRecord* const own = OwnRcuRecord();
  RcuRecord& record = own != nullptr ? *own : FirstSection();
  if (record.depth++ != 0) return;
  preempt::Disable();
  // Relaxed: only this thread writes it, and a fence follows, here or by
  // membarrier in OpenSections().
  record.sections.store(record.sections.load(std::memory_order_relaxed) + 1,
                        std::memory_order_relaxed);
  if (record.needs_fence) {
    std::atomic_thread_fence(std::memory_order_seq_cst);
  } else {
    std::atomic_signal_fence(std::memory_order_seq_cst);
  }
}

void Rcu::unlock() noexcept {
  RcuRecord* const record = OwnRcuRecord();
  YAMANOTE_CHECK(record != nullptr && record->depth > 0,
                 "Rcu::unlock() without a read section");
  if (--record->depth != 0) return;
  // Release: pairs with OpenSections() and synchronize().
  record->sections.store(record->sections.load(std::memory_order_relaxed) + 1,
                         std::memory_order_release);
  preempt::Enable();
}

void Rcu::synchronize() {
  constexpr int kSpins = 200;
  constexpr Duration kSleep = std::chrono::microseconds(20);
  worker::CheckQuiescent();
  int spins = 0;
  for (const auto& [record, sections] : Registry::Get().OpenSections()) {
    // Acquire: pairs with unlock().
    while (record->sections.load(std::memory_order_acquire) == sections) {
      if (++spins < kSpins) {
        base::Pause();
        continue;
      }
      // The reader's core was taken away, or its section is long.
      worker::Waiter nobody_notifies;
      worker::Wait(nobody_notifies, Clock::now() + kSleep);
    }
  }
}

void Rcu::call(void (*function)(void*), void* argument) {
  Reclaimer::Get().Call(function, argument);
}

void Rcu::barrier() {
  worker::CheckQuiescent();
  Reclaimer::Get().Barrier();
}

}  // namespace yamanote
