// socket_resolve.cc - names to addresses without holding a core.

#include "net/socket_resolve.h"

#include <netdb.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

#include "io/address.h"
#include "io/system_error.h"
#include "worker/sync/block.h"

namespace yamanote {
namespace net {

struct ResolverPool::Job {
  std::string host;
  uint16_t port = 0;
  base::SpinLock lock;
  // Both guarded by lock.
  worker::WaitList waiter;
  std::optional<Addresses> answer;
};

struct ResolverPool::Shared {
  Lookup lookup;  // Constant.
  // A kernel mutex, as helper threads and user threads take it; it is held for
  // a few instructions, or while a thread is created.
  std::mutex mutex;
  std::deque<std::shared_ptr<Job>> queue;
  size_t threads = 0;
};

ResolverPool::ResolverPool(Lookup lookup)
    : shared_(std::make_shared<Shared>()) {
  shared_->lookup = std::move(lookup);
}

void ResolverPool::RunThread(const std::shared_ptr<Shared>& shared) {
  for (;;) {
    std::shared_ptr<Job> job;
    {
      const std::lock_guard guard(shared->mutex);
      if (shared->queue.empty()) {
        --shared->threads;
        return;
      }
      job = std::move(shared->queue.front());
      shared->queue.pop_front();
    }
    Addresses answer = shared->lookup(job->host, job->port);
    const std::lock_guard guard(job->lock);
    job->answer = std::move(answer);
    worker::NotifyAll(job->waiter);
  }
}

ResolverPool::Addresses ResolverPool::Resolve(const std::string& host,
                                              uint16_t port,
                                              const Until& until) {
  const auto job = std::make_shared<Job>();
  job->host = host;
  job->port = port;
  {
    const std::lock_guard guard(shared_->mutex);
    if (shared_->queue.size() >= kQueue) {
      return MakeError(
          ErrorCode::kResourceExhausted,
          "resolve '" + host + "': " + std::to_string(kQueue) +
              " lookups wait already; resolve less often or keep the answers");
    }
    shared_->queue.push_back(job);
    if (shared_->threads < kThreads) {
      try {
        std::thread([shared = shared_] { RunThread(shared); }).detach();
        ++shared_->threads;
      } catch (const std::system_error& error) {
        if (shared_->threads == 0) {
          shared_->queue.pop_back();
          return io::SystemError(error.code().value(),
                                 "resolve '" + host + "': start a thread");
        }
      }
    }
  }
  worker::Waiter waiter;
  job->lock.lock();
  if (!job->answer) {
    job->waiter.PushBack(waiter);
    const std::stop_token* const stop =
        until.stop.stop_possible() ? &until.stop : nullptr;
    const auto result = worker::BlockInList(job->lock, job->waiter, waiter,
                                            until.deadline, stop);
    if (result == worker::WaitResult::kTimedOut) {
      return MakeError(
          ErrorCode::kDeadlineExceeded,
          "resolve '" + host + "': the resolver did not answer in time");
    }
    if (result == worker::WaitResult::kCancelled) {
      return MakeError(ErrorCode::kCancelled,
                       "resolve '" + host + "': its stop token was triggered");
    }
    job->lock.lock();
  }
  Addresses answer = std::move(*job->answer);
  job->lock.unlock();
  return answer;
}

namespace {

ErrorCode CodeOf(int error) {
  switch (error) {
    case EAI_NONAME:
    case EAI_NODATA:
      return ErrorCode::kNotFound;
    case EAI_AGAIN:
    case EAI_FAIL:
      return ErrorCode::kUnavailable;
    case EAI_MEMORY:
      return ErrorCode::kResourceExhausted;
    default:
      return ErrorCode::kInternal;
  }
}

ResolverPool::Addresses LookUp(const std::string& host, uint16_t port) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  // One entry per address, not one per protocol.
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  const int error = getaddrinfo(host.c_str(), nullptr, &hints, &list);
  const int system_error = errno;
  const std::string what = "resolve '" + host + "'";
  if (error == EAI_SYSTEM) return io::SystemError(system_error, what);
  if (error != 0)
    return MakeError(CodeOf(error), what + ": " + gai_strerror(error));
  std::vector<SocketAddress> addresses;
  for (const addrinfo* entry = list; entry != nullptr; entry = entry->ai_next) {
    sockaddr_storage storage{};
    std::memcpy(&storage, entry->ai_addr, entry->ai_addrlen);
    const SocketAddress found = io::FromSockaddr(storage, entry->ai_addrlen);
    const std::array<uint8_t, 16>& bytes = found.bytes();
    addresses.push_back(
        found.family() == AddressFamily::kIpv4
            ? SocketAddress::Ipv4({bytes[0], bytes[1], bytes[2], bytes[3]},
                                  port)
            : SocketAddress::Ipv6(bytes, port, found.zone()));
  }
  freeaddrinfo(list);
  return addresses;
}

}  // namespace
}  // namespace net

Result<std::vector<SocketAddress>> Resolve(std::string_view host, uint16_t port,
                                           const Until& until) {
  constexpr size_t kLongestName = 253;  // RFC 1035, 2.3.4, as text.
  if (const auto numeric = SocketAddress::ParseHost(host, port)) {
    return std::vector<SocketAddress>{*numeric};
  }
  if (host.empty() || host.size() > kLongestName ||
      host.find('\0') != std::string_view::npos) {
    return MakeError(ErrorCode::kInvalidArgument,
                     "resolve: the name has " + std::to_string(host.size()) +
                         " characters or a NUL; it must have 1 .. " +
                         std::to_string(kLongestName) + " and none");
  }
  // Never destroyed: a lookup may outlive main().
  static net::ResolverPool& pool = *new net::ResolverPool(&net::LookUp);
  return pool.Resolve(std::string(host), port, until);
}

}  // namespace yamanote
