// priority_mutex.h - a mutex whose holder runs at its waiters' priority.
//
// Agents are real-time threads and share a little with threads that are not. With an
// ordinary mutex an agent could wait for a holder that its own threads keep off the CPU.

#pragma once

#include <pthread.h>

#include "base/check.h"

namespace yamanote::native {

class PriorityMutex {
 public:
  PriorityMutex() {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT);
    YAMANOTE_CHECK(pthread_mutex_init(&mutex_, &attributes) == 0,
                   "a mutex that inherits priorities can be had");
    pthread_mutexattr_destroy(&attributes);
  }
  ~PriorityMutex() { pthread_mutex_destroy(&mutex_); }
  PriorityMutex(const PriorityMutex&) = delete;
  PriorityMutex& operator=(const PriorityMutex&) = delete;

  void lock() { pthread_mutex_lock(&mutex_); }
  void unlock() { pthread_mutex_unlock(&mutex_); }

 private:
  pthread_mutex_t mutex_;
};

}  // namespace yamanote::native
