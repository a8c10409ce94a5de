// socket_core.cc - waiting for readiness, on user threads and on kernel
// threads.

#include "net/socket_core.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <ctime>
#include <functional>
#include <mutex>
#include <optional>

#include "base/check.h"
#include "io/address.h"
#include "io/system_error.h"
#include "worker/spawn.h"
#include "worker/sync/block.h"
#include "yamanote/runtime.h"

namespace yamanote::net {
namespace {

constexpr uint32_t kReadEvents = EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR;
constexpr uint32_t kWriteEvents = EPOLLOUT | EPOLLHUP | EPOLLERR;

// The calling kernel thread's eventfd, made at its first wait; -1 if it can't
// be.
int ThreadEventFd() {
  struct Owner {
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ~Owner() {
      if (fd >= 0) close(fd);
    }
  };
  static thread_local Owner owner;
  if (owner.fd < 0) owner.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  return owner.fd;
}

void Kick(int event_fd) {
  const uint64_t one = 1;
  const ssize_t written = write(event_fd, &one, sizeof(one));
  YAMANOTE_CHECK(written == sizeof(one), "cannot write to an eventfd");
}

// Empties `event_fd`; returns whether somebody had kicked it.
bool TakeKick(int event_fd) {
  uint64_t count = 0;
  return read(event_fd, &count, sizeof(count)) == sizeof(count);
}

tl::unexpected<Error> LateError(const char* what) {
  return MakeError(
      ErrorCode::kDeadlineExceeded,
      std::string(what) + ": its deadline or the socket's timeout passed");
}

tl::unexpected<Error> CancelledError(const char* what) {
  return MakeError(ErrorCode::kCancelled,
                   std::string(what) + ": its stop token was triggered");
}

}  // namespace

Result<std::unique_ptr<SocketCore>> SocketCore::Create(AddressFamily family,
                                                       int type) {
  const int fd =
      socket(io::KernelFamily(family), type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return io::SystemError(errno, "socket");
  return std::make_unique<SocketCore>(fd);
}

SocketCore::~SocketCore() {
  Close();
  YAMANOTE_CHECK(users_.load() == kClosedMark,
                 "a socket was destroyed during a call");
}

bool SocketCore::Enter() const {
  uint32_t users = users_.load(std::memory_order_relaxed);
  do {
    if ((users & kClosedMark) != 0) return false;
  } while (!users_.compare_exchange_weak(
      users, users + 1, std::memory_order_acq_rel, std::memory_order_relaxed));
  return true;
}

void SocketCore::Leave() const {
  if (users_.fetch_sub(1, std::memory_order_acq_rel) == (kClosedMark | 1))
    Release();
}

void SocketCore::Release() const {
  io::Poller* poller = nullptr;
  {
    const std::lock_guard guard(lock_);
    poller = poller_;
  }
  // Not under the lock: it waits for OnEvents(), which takes it.
  if (poller != nullptr) {
    YAMANOTE_CHECK(
        Runtime::Current() != nullptr,
        "a socket outlives the runtime it waited in: Close() it before");
    poller->Remove(fd_, const_cast<SocketCore&>(*this));
  }
  close(fd_);
}

void SocketCore::Close() {
  // As one more user, so that the descriptor is open while others are woken; of
  // several that close at once, one sets the mark and the others only leave.
  const Use use(*this);
  if (!use.entered()) return;
  if ((users_.fetch_or(kClosedMark, std::memory_order_acq_rel) & kClosedMark) !=
      0)
    return;
  const std::lock_guard guard(lock_);
  worker::NotifyAll(read_.waiters);
  worker::NotifyAll(write_.waiters);
  for (Sleeper* sleeper = sleepers_; sleeper != nullptr;
       sleeper = sleeper->next) {
    Kick(sleeper->event_fd);
  }
}

void SocketCore::OnEvents(uint32_t events) {
  const std::lock_guard guard(lock_);
  const auto count = [](DirectionState& side) {
    // Relaxed load: only this function writes, under the lock.
    side.edges.store(side.edges.load(std::memory_order_relaxed) + 1,
                     std::memory_order_release);
    worker::NotifyAll(side.waiters);
  };
  if ((events & kReadEvents) != 0) count(read_);
  if ((events & kWriteEvents) != 0) count(write_);
}

void SocketCore::SetTimeout(Direction direction, Duration timeout) {
  YAMANOTE_CHECK(timeout > Duration::zero(), "a socket's timeout must be > 0");
  Side(direction).timeout.store(ToNanos(timeout), std::memory_order_relaxed);
}

Instant SocketCore::Deadline(Direction direction, const Until& until) {
  const Duration timeout(
      Side(direction).timeout.load(std::memory_order_relaxed));
  if (timeout == Duration::max()) return until.deadline;
  const Instant now = Clock::now();
  const Instant latest = timeout > kNever - now ? kNever : now + timeout;
  return latest < until.deadline ? latest : until.deadline;
}

tl::unexpected<Error> SocketCore::ClosedError(const char* what) {
  return MakeError(ErrorCode::kClosed,
                   std::string(what) + ": the socket was closed");
}

tl::unexpected<Error> SocketCore::Failed(int error, const char* what) {
  return io::SystemError(error, what);
}

Result<void> SocketCore::Await(Direction direction, uint32_t edges,
                               Instant deadline, const std::stop_token& stop,
                               const char* what) {
  if (worker::CurrentCore() == kNoCore) {
    return AwaitOnKernelThread(direction, deadline, stop, what);
  }
  return AwaitOnUserThread(Side(direction), edges, deadline, stop, what);
}

Result<void> SocketCore::AwaitOnUserThread(DirectionState& side, uint32_t edges,
                                           Instant deadline,
                                           const std::stop_token& stop,
                                           const char* what) {
  worker::Waiter waiter;
  lock_.lock();
  if (IsClosed()) {
    lock_.unlock();
    return ClosedError(what);
  }
  if (poller_ == nullptr) {
    io::Poller& poller = worker::PollerOf(worker::CurrentCore());
    const Result<void> added =
        poller.Add(fd_, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, *this);
    if (added) poller_ = &poller;
    lock_.unlock();
    // Tries again: what was ready before is reported from now on.
    return added;
  }
  if (side.edges.load(std::memory_order_relaxed) != edges) {
    lock_.unlock();
    return {};
  }
  side.waiters.PushBack(waiter);
  const std::stop_token* const token = stop.stop_possible() ? &stop : nullptr;
  switch (worker::BlockInList(lock_, side.waiters, waiter, deadline, token)) {
    case worker::WaitResult::kTimedOut:
      return LateError(what);
    case worker::WaitResult::kCancelled:
      return CancelledError(what);
    default:
      return {};
  }
}

Result<void> SocketCore::AwaitOnKernelThread(Direction direction,
                                             Instant deadline,
                                             const std::stop_token& stop,
                                             const char* what) {
  const int event_fd = ThreadEventFd();
  if (event_fd < 0) return io::SystemError(errno, what);
  Sleeper sleeper{event_fd};
  {
    const std::lock_guard guard(lock_);
    if (IsClosed()) return ClosedError(what);
    sleeper.next = sleepers_;
    if (sleepers_ != nullptr) sleepers_->previous = &sleeper;
    sleepers_ = &sleeper;
  }
  pollfd fds[2] = {};
  fds[0] = {
      fd_, static_cast<short>(direction == Direction::kRead ? POLLIN : POLLOUT),
      0};
  fds[1] = {event_fd, POLLIN, 0};
  int ready = 0;
  int error = 0;
  {
    std::optional<std::stop_callback<std::function<void()>>> cancel;
    if (stop.stop_possible())
      cancel.emplace(stop, [event_fd] { Kick(event_fd); });
    do {
      timespec timeout{};
      // Compared before it is subtracted: the deadline may be Instant::min().
      const Instant now = deadline == kNever ? kNever : Clock::now();
      if (now < deadline) {
        const int64_t left = ToNanos(deadline - now);
        timeout = {left / 1'000'000'000, left % 1'000'000'000};
      }
      ready = ppoll(fds, 2, deadline == kNever ? nullptr : &timeout, nullptr);
      error = errno;
    } while (ready < 0 && error == EINTR);
  }
  {
    const std::lock_guard guard(lock_);
    (sleeper.previous == nullptr ? sleepers_ : sleeper.previous->next) =
        sleeper.next;
    if (sleeper.next != nullptr) sleeper.next->previous = sleeper.previous;
  }
  // Nobody kicks any more. A kick means: closed, or cancelled, or both.
  const bool kicked = TakeKick(event_fd);
  if (ready < 0) return io::SystemError(error, what);
  if (IsClosed()) return ClosedError(what);
  if (fds[0].revents != 0) return {};
  if (kicked) return CancelledError(what);
  return LateError(what);
}

}  // namespace yamanote::net
