// socket_core.h - what a blocking socket is made of: a non-blocking descriptor,
// how a thread waits for its readiness, and how Close() ends that wait.
//
// A call tries the system call; if that would block it waits for an edge:
//
//   caller                                  poller (OnEvents)
//   1. note the count of edges              4. lock; count an edge
//   2. system call; EAGAIN                  5. notify all waiters; unlock
//   3. lock; if the count has changed or
//      the socket is closed, unlock and go
//      back to 1; join the waiters; unlock;
//      wait; go back to 1
//
// An edge before 1 happened before the system call of 2, which saw what it
// announced. An edge between 1 and 3 changes the count. A later one finds the
// waiter. All waiters are notified at each edge, as one of them may leave bytes
// that the next can take. The descriptor joins a poller, edge-triggered, when a
// user thread first has to wait; the kernel then reports once what is ready.
//
// A plain kernel thread waits in ppoll(2) for the descriptor and for an eventfd
// of its own, which Close() and stop tokens write to.
//
// The descriptor is closed exactly once, when the last call has left: users_
// counts calls and holds the closed mark.

#pragma once

#include <sys/socket.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <string>

#include "io/poller.h"
#include "worker/wait.h"
#include "yamanote/detail/spin_lock.h"
#include "yamanote/socket.h"

namespace yamanote::net {

enum class Direction : uint8_t { kRead, kWrite };

class SocketCore final : public io::EventHandler {
 public:
  // A new non-blocking socket of `family` and `type` (SOCK_STREAM, SOCK_DGRAM).
  static Result<std::unique_ptr<SocketCore>> Create(AddressFamily family,
                                                    int type);

  // Takes `fd`, which must be non-blocking.
  explicit SocketCore(int fd) : fd_(fd) {}
  ~SocketCore() override;
  SocketCore(const SocketCore&) = delete;
  SocketCore& operator=(const SocketCore&) = delete;

  // Repeats `call(fd)` until it does not answer that it would block. `call`
  // returns as a system call does, with errno; `what` names it in errors.
  template <typename Call>
  Result<size_t> Run(Direction direction, const Until& until, const char* what,
                     Call call) {
    const Use use(*this);
    if (!use.entered()) return ClosedError(what);
    Instant deadline = kNever;  // Computed before the first wait only.
    for (bool first = true;; first = false) {
      const uint32_t edges =
          Side(direction).edges.load(std::memory_order_acquire);
      const ssize_t count = Attempt(call, fd_);
      if (count >= 0) return static_cast<size_t>(count);
      if (count != -EAGAIN && count != -EINPROGRESS && count != -EALREADY) {
        return Failed(static_cast<int>(-count), what);
      }
      if (first) deadline = Deadline(direction, until);
      const Result<void> waited =
          Await(direction, edges, deadline, until.stop, what);
      if (!waited) return tl::unexpected(waited.error());
    }
  }

  // Does `call(fd)` once, unless the socket is closed.
  template <typename Call>
  Result<void> Once(const char* what, Call call) const {
    const Use use(*this);
    if (!use.entered()) return ClosedError(what);
    const ssize_t result = Attempt(call, fd_);
    if (result < 0) return Failed(static_cast<int>(-result), what);
    return {};
  }

  void SetTimeout(Direction direction, Duration timeout);
  void Close();
  int descriptor() const { return IsClosed() ? -1 : fd_; }

  void OnEvents(uint32_t events) override;

 private:
  // A call in progress: the descriptor stays open while it lives.
  class Use {
   public:
    explicit Use(const SocketCore& core)
        : core_(core), entered_(core.Enter()) {}
    ~Use() {
      if (entered_) core_.Leave();
    }
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;
    bool entered() const { return entered_; }

   private:
    const SocketCore& core_;
    const bool entered_;
  };

  // A kernel thread in ppoll(2); on its stack.
  struct Sleeper {
    int event_fd;
    Sleeper* next = nullptr;
    Sleeper* previous = nullptr;
  };

  struct DirectionState {
    // Written under lock_: release, pairs with the acquire load in Run().
    std::atomic<uint32_t> edges{0};
    // Nanoseconds. Relaxed: it orders nothing else.
    std::atomic<int64_t> timeout{ToNanos(Duration::max())};
    worker::WaitList waiters;  // Guarded by lock_.
  };

  // Not inlined: errno is the kernel thread's, and the compiler may keep its
  // address across a wait, after which the caller may be on another one.
  template <typename Call>
  [[gnu::noinline]] static ssize_t Attempt(const Call& call, int fd) {
    ssize_t result;
    do {
      result = call(fd);
    } while (result < 0 && errno == EINTR);
    return result < 0 ? -errno : result;
  }

  static tl::unexpected<Error> ClosedError(const char* what);
  static tl::unexpected<Error> Failed(int error, const char* what);

  DirectionState& Side(Direction direction) {
    return direction == Direction::kRead ? read_ : write_;
  }
  bool IsClosed() const {
    return (users_.load(std::memory_order_acquire) & kClosedMark) != 0;
  }
  bool Enter() const;
  void Leave() const;
  void Release() const;  // The last user of a closed socket.

  Instant Deadline(Direction direction, const Until& until);
  Result<void> Await(Direction direction, uint32_t edges, Instant deadline,
                     const std::stop_token& stop, const char* what);
  Result<void> AwaitOnUserThread(DirectionState& side, uint32_t edges,
                                 Instant deadline, const std::stop_token& stop,
                                 const char* what);
  Result<void> AwaitOnKernelThread(Direction direction, Instant deadline,
                                   const std::stop_token& stop,
                                   const char* what);

  static constexpr uint32_t kClosedMark = 1u << 31;

  const int fd_;
  // Calls in progress, and kClosedMark. Acquire-release: the last to leave sees
  // what all others did.
  mutable std::atomic<uint32_t> users_{0};
  DirectionState read_;
  DirectionState write_;

  mutable base::SpinLock lock_;
  io::Poller* poller_ = nullptr;  // Guarded by lock_; set once.
  Sleeper* sleepers_ = nullptr;   // Guarded by lock_.
};

}  // namespace yamanote::net
