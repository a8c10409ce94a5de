// poller.cc - the poller over epoll and an eventfd.
//
// Rejected: waking with a signal (costs the sleeper a handler frame and cannot
// be directed at "whoever polls"); EPOLLONESHOT (a system call to re-arm per
// event); a sequence number readable without a system call ("is anything
// ready?"): the kernel offers none for epoll, so an empty Poll(0) is one
// epoll_wait; Look() avoids most of those where datagrams come.

#include "io/poller.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <mutex>
#include <span>
#include <string>

#include "base/backoff.h"
#include "base/check.h"
#include "io/system_error.h"

namespace yamanote::io {
namespace {

constexpr uint64_t kWakeData = UINT64_MAX;  // No descriptor: fd would be -1.

// False once the kernel (before 5.11) or a sandbox refuses epoll_pwait2.
// Relaxed: it guards no other data, and a stale true costs one failing call.
std::atomic<bool> g_has_nanosecond_wait{true};

// Identifies the calling kernel thread while it does not switch user threads.
// Not inlined: a caller that is a user thread must not keep the address of
// another kernel thread's variable.
__attribute__((noinline)) const void* ThreadKey() {
  static thread_local char key;
  const void* result = &key;
  asm volatile("" : "+r"(result));
  return result;
}

uint64_t Encode(int fd, uint32_t generation) {
  return (static_cast<uint64_t>(generation) << 32) | static_cast<uint32_t>(fd);
}

int MillisecondsRoundedUp(Duration wait) {
  constexpr int64_t kMax = std::numeric_limits<int>::max();
  const int64_t milliseconds = ToNanos(wait) / 1'000'000 + 1;
  return static_cast<int>(milliseconds < kMax ? milliseconds : kMax);
}

}  // namespace

Poller::Poller()
    : epoll_fd_(epoll_create1(EPOLL_CLOEXEC)),
      event_fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  YAMANOTE_CHECK(epoll_fd_ >= 0 && event_fd_ >= 0,
                 "no descriptors for a poller: raise `ulimit -n`");
  epoll_event event{};
  event.events = EPOLLIN | EPOLLET;
  event.data.u64 = kWakeData;
  YAMANOTE_CHECK(epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, event_fd_, &event) == 0,
                 "epoll refuses an eventfd");
}

Poller::~Poller() {
  close(event_fd_);
  close(epoll_fd_);
}

Poller::Entry* Poller::Find(int fd) {
  const size_t chunk = static_cast<size_t>(fd) / kChunkEntries;
  if (fd < 0 || chunk >= chunks_.size() || chunks_[chunk] == nullptr)
    return nullptr;
  return &chunks_[chunk][static_cast<size_t>(fd) % kChunkEntries];
}

Poller::Entry& Poller::FindOrMake(int fd) {
  const size_t chunk = static_cast<size_t>(fd) / kChunkEntries;
  if (chunk >= chunks_.size()) chunks_.resize(chunk + 1);
  if (chunks_[chunk] == nullptr)
    chunks_[chunk] = std::make_unique<Entry[]>(kChunkEntries);
  return chunks_[chunk][static_cast<size_t>(fd) % kChunkEntries];
}

Result<void> Poller::Add(int fd, uint32_t events, EventHandler& handler,
                         Watching watching) {
  if (fd < 0) {
    return MakeError(ErrorCode::kInvalidArgument,
                     "poller: descriptor " + std::to_string(fd) +
                         " is negative; pass an open one");
  }
  // Under the lock, so that the first event finds the entry filled.
  const std::lock_guard guard(lock_);
  const uint32_t generation = ++last_generation_;
  epoll_event event{};
  event.events = events;
  event.data.u64 = Encode(fd, generation);
  if (epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, fd, &event) != 0) {
    const int error = errno;
    if (error == EPERM) {
      return MakeError(ErrorCode::kUnsupported,
                       "poller: descriptor " + std::to_string(fd) +
                           " is a file or directory, which is always ready; "
                           "read it directly",
                       error);
    }
    return SystemError(error, "poller: add descriptor " + std::to_string(fd));
  }
  Entry& entry = FindOrMake(fd);
  YAMANOTE_CHECK(entry.handler == nullptr,
                 "a descriptor was closed before Remove()");
  if (tried_count_ == tried_.size()) watching = Watching::kAsked;
  entry = {&handler, generation, watching};
  if (watching == Watching::kTried) tried_[tried_count_++] = event.data.u64;
  added_.fetch_add(1, std::memory_order_relaxed);
  return {};
}

void Poller::Remove(int fd, EventHandler& handler) {
  uint64_t call = 0;
  {
    const std::lock_guard guard(lock_);
    Entry* const entry = Find(fd);
    if (entry == nullptr || entry->handler != &handler) return;
    entry->handler = nullptr;
    const auto tried = std::span(tried_).first(tried_count_);
    tried_count_ -=
        std::ranges::remove(tried, Encode(fd, entry->generation)).size();
    added_.fetch_sub(1, std::memory_order_relaxed);
    epoll_event ignored{};
    const int result = epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, fd, &ignored);
    YAMANOTE_CHECK(result == 0, "a descriptor was closed before Remove()");
    if (serving_fd_ != fd || serving_thread_ == ThreadKey()) return;
    call = calls_;
  }
  for (base::Backoff backoff;;) {
    {
      const std::lock_guard guard(lock_);
      if (calls_ != call) return;
    }
    backoff.Wait();
  }
}

int Poller::WaitForEvents(epoll_event* events, Duration wait) {
  if (wait <= Duration::zero()) return epoll_wait(epoll_fd_, events, kBatch, 0);
  if (state_.exchange(State::kWaiting) == State::kWoken)
    wait = Duration::zero();  // 1
  int count = 0;
  if (wait == Duration::zero()) {
    count = epoll_wait(epoll_fd_, events, kBatch, 0);
  } else if (wait == Duration::max()) {
    count = epoll_wait(epoll_fd_, events, kBatch, -1);  // 2
  } else {
    count = -1;
    errno = ENOSYS;
    if (g_has_nanosecond_wait.load(std::memory_order_relaxed)) {
      const timespec timeout{ToNanos(wait) / 1'000'000'000,
                             ToNanos(wait) % 1'000'000'000};
      count = epoll_pwait2(epoll_fd_, events, kBatch, &timeout, nullptr);  // 2
    }
    if (count < 0 && (errno == ENOSYS || errno == EPERM)) {
      g_has_nanosecond_wait.store(false, std::memory_order_relaxed);
      count = epoll_wait(epoll_fd_, events, kBatch,
                         MillisecondsRoundedUp(wait));  // 2
    }
  }
  state_.exchange(State::kAwake);  // 3
  return count;
}

// Looks up whom `data` is for and notes that the call begins. Returns an entry
// without a handler if it was removed.
Poller::Entry Poller::BeginCall(uint64_t data) {
  const int fd = static_cast<int>(static_cast<uint32_t>(data));
  const auto generation = static_cast<uint32_t>(data >> 32);
  const std::lock_guard guard(lock_);
  const Entry* const entry = Find(fd);
  if (entry == nullptr || entry->handler == nullptr ||
      entry->generation != generation) {
    return {};
  }
  serving_fd_ = fd;
  serving_thread_ = ThreadKey();
  return *entry;
}

void Poller::EndCall() {
  const std::lock_guard guard(lock_);
  serving_fd_ = kNoFd;
  ++calls_;
}

// False if another thread polls.
bool Poller::BeginPoll() {
  // Relaxed look first: a failing exchange would steal the holder's line.
  return !polling_.load(std::memory_order_relaxed) &&
         !polling_.exchange(true, std::memory_order_acquire);
}

int Poller::Poll(Duration wait) {
  if (!BeginPoll()) return kBusy;
  const int handled = Ask(wait);
  polling_.store(false, std::memory_order_release);
  return handled;
}

int Poller::Look(Instant now) {
  if (!BeginPoll()) return kBusy;
  int handled = kNothingToTry;
  if (tries_left_ > 0 && now < ask_at_) {
    --tries_left_;
    handled = TryAll();
  }
  if (handled == kNothingToTry) {
    handled = Ask(Duration::zero());
    tries_left_ = tries_per_ask_;
    ask_at_ = now + kLongestUntold;
  }
  polling_.store(false, std::memory_order_release);
  return handled;
}

int Poller::Ask(Duration wait) {
  epoll_event events[kBatch];
  const int count = WaitForEvents(events, wait);
  YAMANOTE_CHECK(count >= 0 || errno == EINTR, "epoll_wait failed");
  int handled = 0;
  int tried = 0;
  for (int i = 0; i < count; ++i) {
    if (events[i].data.u64 == kWakeData) continue;
    const Entry entry = BeginCall(events[i].data.u64);
    if (entry.handler == nullptr) continue;
    entry.handler->OnEvents(events[i].events);
    EndCall();
    ++handled;
    if (entry.watching == Watching::kTried) ++tried;
  }
  if (handled != tried) {
    tries_per_ask_ = 0;
  } else if (tried > 0 || tries_per_ask_ > 0) {
    tries_per_ask_ = std::min(2 * tries_per_ask_ + 1, kMostTries);
  }
  return handled;
}

// Returns how many had something, kNothingToTry if no descriptor is kTried.
int Poller::TryAll() {
  std::array<uint64_t, kMostTried> tried;
  size_t count = 0;
  {
    const std::lock_guard guard(lock_);
    tried = tried_;
    count = tried_count_;
  }
  int handled = 0;
  for (size_t i = 0; i < count; ++i) {
    const Entry entry = BeginCall(tried[i]);
    if (entry.handler == nullptr) continue;
    if (entry.handler->Try()) ++handled;
    EndCall();
  }
  if (count > 0) return handled;
  tries_per_ask_ = tries_left_ = 0;
  return kNothingToTry;
}

void Poller::Wake() {
  if (state_.exchange(State::kWoken) != State::kWaiting) return;  // 5
  const uint64_t one = 1;
  // Fails only if the counter, which nobody reads, overflows after 2^64 wakes.
  const ssize_t written = write(event_fd_, &one, sizeof(one));
  YAMANOTE_CHECK(written == sizeof(one), "cannot write to an eventfd");
}

}  // namespace yamanote::io
