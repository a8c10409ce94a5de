// poller.h - readiness of file descriptors, and where a worker sleeps.
//
// One poller per worker (and one shared by all where placement is central). A
// worker polls without waiting between tasks, polls a few microseconds when it
// is idle, and at last sleeps in it; Wake() ends that sleep. Because an epoll set
// may be read by any thread, an idle worker can poll another core's poller while
// that core is busy with a long task: it does what ZygOS needs an interrupt for.
//
// Any thread may Add() and Remove(). At most one thread is in Poll() at a time;
// another one that tries gets kBusy at once.

#pragma once

#include <atomic>
#include <cstdint>

#include "base/spin_lock.h"
#include "yamanote/result.h"
#include "yamanote/time.h"

namespace yamanote::io {

// Told of readiness. Runs on the worker that polls, on its scheduler's stack: it
// must not block; it may Spawn, Notify and do non-blocking reads.
class EventHandler {
 public:
  virtual ~EventHandler() = default;
  // `events` as epoll reports them: EPOLLIN, EPOLLOUT, EPOLLERR, EPOLLHUP, ...
  virtual void OnEvents(uint32_t events) = 0;
};

class Poller {
 public:
  static constexpr int kBusy = -1;

  Poller();  // CHECKs that the kernel gives it two descriptors.
  ~Poller();
  Poller(const Poller&) = delete;
  Poller& operator=(const Poller&) = delete;

  // `events` as for epoll_ctl, EPOLLET and EPOLLEXCLUSIVE included. `handler`
  // must live until Remove() has returned.
  Result<void> Add(int fd, uint32_t events, EventHandler& handler);
  Result<void> Modify(int fd, uint32_t events, EventHandler& handler);

  // After it returns, `handler` is not called any more. Must be called from
  // OnEvents of the same poller or from outside Poll(); waits for a Poll() in
  // progress on another thread to leave its handlers.
  void Remove(int fd, EventHandler& handler);

  // Calls the handlers of what is ready, waiting up to `wait` (zero: not at
  // all; max: until Wake()). Returns how many events it handled, or kBusy.
  int Poll(Duration wait);

  // Ends the Poll() that is waiting, or the next one that would. Any thread.
  void Wake();
};

}  // namespace yamanote::io
