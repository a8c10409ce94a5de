// poller.h - readiness of file descriptors, and where a worker sleeps.
//
// One poller per worker (and one shared by all where placement is central). A
// worker polls without waiting between tasks, polls a few microseconds when it
// is idle, and at last sleeps in it; Wake() ends that sleep. Because an epoll
// set may be read by any thread, an idle worker can poll another core's poller
// while that core is busy with a long task: it does what ZygOS needs an
// interrupt for.
//
// Any thread may Add() and Remove(). At most one thread is in Poll() at a time;
// another one that tries gets kBusy at once.

#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/spin_lock.h"
#include "yamanote/result.h"
#include "yamanote/time.h"

struct epoll_event;

namespace yamanote::io {

// Told of readiness. Runs on the worker that polls, on its scheduler's stack:
// it must not block; it may Spawn, Notify and do non-blocking reads.
class EventHandler {
 public:
  virtual ~EventHandler() = default;
  // `events` as epoll reports them: EPOLLIN, EPOLLOUT, EPOLLERR, EPOLLHUP, ...
  virtual void OnEvents(uint32_t events) = 0;
  // As OnEvents(EPOLLIN), but without having been told: reads what is there.
  // Returns whether there was something. Only for those added with kTried.
  virtual bool Try() { return false; }
};

// How a descriptor is watched. kTried is for one that is readable so often that
// reading it costs less than asking first: a socket of datagrams. Its events are
// level-triggered, so that what Try() leaves is reported.
enum class Watching : uint8_t { kAsked, kTried };

// How a wake-up is never lost. state_ is changed only by seq_cst exchanges, so
// all changes have one order and each sees what was written before those ahead
// of it:
//
//   poller                                   waker
//   1. exchange kWaiting; if it was kWoken,  4. publish the work
//      do not wait                           5. exchange kWoken; if it was
//   2. wait in the kernel                       kWaiting, write to event_fd_
//   3. exchange kAwake; return; the caller
//      looks for work
//
// 5 before 1: the poller does not wait. 5 between 1 and 3: it writes, and the
// write ends 2 or, if 2 ended for another reason, some later wait too early,
// which is harmless. 5 after 3: the token stays for the next 1. In each case
// the exchange that finds kWoken makes 4 visible to the look for work that
// follows.
//
// How a removed handler is never called. The kernel is given not the handler
// but a descriptor and the generation of its entry in a table. Before each call
// the poller looks both up under lock_ and notes which descriptor it serves;
// Remove() empties the entry under lock_, so that events already fetched find
// nothing, and waits only if another thread is inside that very handler.
class Poller {
 public:
  static constexpr int kBusy = -1;

  Poller();  // CHECKs that the kernel gives it two descriptors.

  // Requires: no call is in progress on any thread.
  ~Poller();
  Poller(const Poller&) = delete;
  Poller& operator=(const Poller&) = delete;

  // `events` as for epoll_ctl, EPOLLET and EPOLLEXCLUSIVE included. `handler`
  // must live until Remove() has returned, and `fd` must not be closed before.
  // kInvalidArgument: `fd` is not open or is added already; kUnsupported: it is
  // a regular file; kResourceExhausted: the kernel's limit on watches. Any
  // thread.
  Result<void> Add(int fd, uint32_t events, EventHandler& handler,
                   Watching watching = Watching::kAsked);

  // After it returns, `handler` is not called for `fd` any more. Waits while
  // another thread is inside a handler for `fd`: the caller must hold no lock
  // that the handler takes. From inside a handler of this poller it returns at
  // once, whichever handler it removes. Nothing happens if `fd` is not added
  // with `handler`. Any thread.
  void Remove(int fd, EventHandler& handler);

  // Calls the handlers of what is ready, waiting up to `wait` (zero: not at
  // all; max: until Wake()). May return early. Returns how many events it
  // handled, at most kBatch, or kBusy. One system call beside theirs. Only
  // the thread that looks for work afterwards may wait: it takes the Wake().
  //
  int Poll(Duration wait);

  // As Poll(0) most times. But if all that was ready lately is kTried, it only
  // tries those, seven times of eight and for kLongestUntold at most: the call
  // that asks the kernel costs 1.1 us, half of what receiving a datagram does
  // (2-vCPU VM, 2026-11-26). `now`: about the present.
  int Look(Instant now);

  // Ends the Poll() that is waiting, or the next one that would. Any thread.
  // One atomic exchange, and a system call only if a thread waits.
  void Wake();

  static constexpr int kBatch = 64;

  // True if nothing was added: Poll(0) would be a system call for nothing. Any
  // thread; relaxed, because whoever adds also wakes or polls later.
  bool Empty() const { return added_.load(std::memory_order_relaxed) == 0; }

  // The epoll set itself, readable while events wait: to nest it in another
  // poller, never to wait on directly.
  int descriptor() const { return epoll_fd_; }

 private:
  struct Entry {
    EventHandler* handler = nullptr;
    uint32_t generation = 0;  // Of the last Add().
    Watching watching = Watching::kAsked;
  };
  static constexpr int kChunkEntries = 256;
  static constexpr size_t kMostTried = 2;  // Further ones are kAsked.
  static constexpr unsigned kMostTries = 7;
  // As long as a core takes between two looks with tasks waiting.
  static constexpr Duration kLongestUntold = std::chrono::microseconds(30);
  static constexpr int kNothingToTry = -1;
  static constexpr int kNoFd = -1;

  enum class State : uint32_t {
    kAwake,    // -> kWaiting by the poller, -> kWoken by a waker.
    kWaiting,  // -> kAwake by the poller, -> kWoken by a waker.
    kWoken,    // -> kAwake by the poller.
  };

  Entry* Find(int fd);        // Requires lock_; nullptr if there is no chunk.
  Entry& FindOrMake(int fd);  // Requires lock_.
  int WaitForEvents(::epoll_event* events, Duration wait);
  bool BeginPoll();
  int Ask(Duration wait);
  int TryAll();
  Entry BeginCall(uint64_t data);
  void EndCall();

  int epoll_fd_;
  int event_fd_;  // Edge-triggered in epoll_fd_, so nobody reads it.

  std::atomic<State> state_{State::kAwake};
  std::atomic<int> added_{0};  // Descriptors in the set; written under lock_.
  // Held by the thread in Poll(). Acquire and release pair with each other:
  // what one poller's handlers wrote is visible to the next poller's.
  std::atomic<bool> polling_{false};
  // Used by that thread: tries before the next Look() asks, what is left of them,
  // and when it asks in any case.
  unsigned tries_per_ask_ = 0;
  unsigned tries_left_ = 0;
  Instant ask_at_{};

  base::SpinLock lock_;
  // The rest is guarded by lock_. Indexed by descriptor: the kernel hands out
  // the lowest free one, so the table is as dense as the process's use of them.
  std::vector<std::unique_ptr<Entry[]>> chunks_;
  uint32_t last_generation_ = 0;
  std::array<uint64_t, kMostTried> tried_{};  // As in the events' data.
  size_t tried_count_ = 0;
  int serving_fd_ = kNoFd;  // Whose handler runs now.
  uint64_t calls_ = 0;      // Calls of handlers that have returned.
  const void* serving_thread_ = nullptr;  // ThreadKey() of the thread in it.
};

}  // namespace yamanote::io
