// shared_mutex.cc - see the header. All state is under one spin lock, and the
// mutex is handed over: a notified waiter holds it already.

#include "yamanote/shared_mutex.h"

#include <mutex>

#include "base/check.h"
#include "worker/sync/block.h"

namespace yamanote {

using worker::Waiter;
using worker::WaitResult;

// Lets all waiting readers in; returns whether there was one. lock_ is held.
bool SharedMutex::AdmitReaders() {
  const unsigned admitted = worker::NotifyAll(waiting_readers_);
  readers_ += admitted;
  return admitted > 0;
}

// Lets the first waiting writer in; returns whether there was one. lock_ is
// held and nobody holds the mutex.
bool SharedMutex::AdmitWriter() {
  writer_ = worker::NotifyOldest(waiting_writers_);
  return writer_;
}

bool SharedMutex::try_lock() {
  const std::lock_guard guard(lock_);
  if (writer_ || readers_ > 0) return false;
  writer_ = true;
  return true;
}

bool SharedMutex::Lock(Instant deadline, const std::stop_token* stop) {
  lock_.lock();
  if (!writer_ && readers_ == 0) {
    writer_ = true;
    lock_.unlock();
    return true;
  }
  Waiter waiter;
  waiting_writers_.PushBack(waiter);
  if (BlockInList(lock_, waiting_writers_, waiter, deadline, stop) ==
      WaitResult::kNotified) {
    return true;
  }
  // Readers may have waited for this writer only.
  const std::lock_guard guard(lock_);
  if (!writer_ && waiting_writers_.Empty()) AdmitReaders();
  return false;
}

void SharedMutex::unlock() {
  const std::lock_guard guard(lock_);
  YAMANOTE_CHECK(writer_, "unlock() of a SharedMutex that no writer holds");
  writer_ = false;
  if (!AdmitReaders()) AdmitWriter();
}

bool SharedMutex::try_lock_shared() {
  const std::lock_guard guard(lock_);
  if (writer_ || !waiting_writers_.Empty()) return false;
  ++readers_;
  return true;
}

bool SharedMutex::LockShared(Instant deadline, const std::stop_token* stop) {
  lock_.lock();
  if (!writer_ && waiting_writers_.Empty()) {
    ++readers_;
    lock_.unlock();
    return true;
  }
  Waiter waiter;
  waiting_readers_.PushBack(waiter);
  return BlockInList(lock_, waiting_readers_, waiter, deadline, stop) ==
         WaitResult::kNotified;
}

void SharedMutex::unlock_shared() {
  const std::lock_guard guard(lock_);
  YAMANOTE_CHECK(readers_ > 0,
                 "unlock_shared() of a SharedMutex that no reader holds");
  if (--readers_ == 0 && !AdmitWriter()) AdmitReaders();
}

}  // namespace yamanote
