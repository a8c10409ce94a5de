// shared_mutex.h - many readers or one writer.
//
//   yamanote::SharedMutex mutex;
//   { std::shared_lock reader(mutex); Read(); }
//   { std::unique_lock writer(mutex); Write(); }
//
// Order: writers are preferred over readers that come later, and the two take
// turns. A reader waits if a writer holds the mutex or waits for it. A writer
// that leaves lets all readers in that wait at that moment, and the last of
// them the next writer. So nobody starves: a reader waits for at most one
// writer, a writer for at most one group of readers per writer before it.
// Writers are served in order of arrival; nobody overtakes.
//
// A thread that holds the mutex shared must not take it shared again: a writer
// that came in between would wait for the first, and the second for the writer.
//
// Good where reading takes microseconds or blocks; for short reads Mutex is
// faster (all readers write one cache line), and Rcu much faster.
//
// Memory ordering: everything before an unlock happens before everything after
// a lock of either kind that follows it; unlock_shared() likewise before
// lock().
//
// Satisfies SharedTimedLockable. Any thread, user or kernel.
//
// Source: Brandenburg and Anderson, "Spin-Based Reader-Writer Synchronization
// for Multiprocessor Real-Time Systems", Real-Time Systems 46, 2010 (phase-fair
// locks: readers wait for at most one writer phase).

#pragma once

#include <cstdint>
#include <stop_token>

#include "yamanote/detail/wait_list.h"
#include "yamanote/stop.h"
#include "yamanote/time.h"

namespace yamanote {

class SharedMutex {
 public:
  constexpr SharedMutex() = default;
  SharedMutex(const SharedMutex&) = delete;
  SharedMutex& operator=(const SharedMutex&) = delete;

  // Exclusive. The forms that may give up (see stop.h) return whether they took
  // the mutex; try_lock() is never spuriously false.
  void lock() { Lock(kNever, nullptr); }
  bool try_lock();
  bool lock(const std::stop_token& stop) { return Lock(kNever, &stop); }
  bool try_lock_until(Instant deadline) { return Lock(deadline, nullptr); }
  bool try_lock_until(const std::stop_token& stop, Instant deadline) {
    return Lock(deadline, &stop);
  }
  bool try_lock_for(Duration timeout) {
    return try_lock() || Lock(DeadlineIn(timeout), nullptr);
  }
  void unlock();  // Aborts unless the mutex is held exclusively.

  // Shared.
  void lock_shared() { LockShared(kNever, nullptr); }
  bool try_lock_shared();
  bool lock_shared(const std::stop_token& stop) {
    return LockShared(kNever, &stop);
  }
  bool try_lock_shared_until(Instant deadline) {
    return LockShared(deadline, nullptr);
  }
  bool try_lock_shared_until(const std::stop_token& stop, Instant deadline) {
    return LockShared(deadline, &stop);
  }
  bool try_lock_shared_for(Duration timeout) {
    return try_lock_shared() || LockShared(DeadlineIn(timeout), nullptr);
  }
  void unlock_shared();  // Aborts unless the mutex is held shared.

 private:
  bool Lock(Instant deadline, const std::stop_token* stop);
  bool LockShared(Instant deadline, const std::stop_token* stop);
  bool AdmitReaders();
  bool AdmitWriter();

  base::SpinLock lock_;
  // Guarded by lock_. Invariant: who could be let in does not wait.
  bool writer_ = false;
  uint32_t readers_ = 0;
  worker::WaitList waiting_writers_;
  worker::WaitList waiting_readers_;
};

using SharedTimedMutex = SharedMutex;

}  // namespace yamanote
