// stream.cc - ByteStream over a kernel socket.

#include "io/stream.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/check.h"

namespace yamanote::io {
namespace {

Transfer Failed(int error) {
  if (error == EAGAIN || error == EWOULDBLOCK || error == EINTR) return {};
  return {Transfer::Status::kError, error, 0};
}

}  // namespace

KernelStream::~KernelStream() {
  YAMANOTE_CHECK(handler_ == nullptr,
                 "a stream was destroyed before Unwatch()");
  close(fd_);
}

Transfer KernelStream::Read(std::span<std::byte> buffer) {
  ssize_t count;
  do {
    count = recv(fd_, buffer.data(), buffer.size(), 0);
  } while (count < 0 && errno == EINTR);
  if (count < 0) return Failed(errno);
  if (count == 0) return {Transfer::Status::kEnd, 0, 0};
  return {Transfer::Status::kDone, 0, static_cast<size_t>(count)};
}

Transfer KernelStream::Write(std::span<const ConstBytes> parts) {
  ssize_t count;
  if (parts.size() == 1) {
    do {
      count = send(fd_, parts[0].data(), parts[0].size(), MSG_NOSIGNAL);
    } while (count < 0 && errno == EINTR);
  } else {
    iovec vectors[kMaxWriteParts];
    const size_t used = std::min(parts.size(), kMaxWriteParts);
    for (size_t i = 0; i < used; ++i) {
      // The kernel only reads through it.
      vectors[i] = {const_cast<std::byte*>(parts[i].data()), parts[i].size()};
    }
    msghdr message{};
    message.msg_iov = vectors;
    message.msg_iovlen = used;
    do {
      count = sendmsg(fd_, &message, MSG_NOSIGNAL);
    } while (count < 0 && errno == EINTR);
  }
  if (count < 0) return Failed(errno);
  // Zero happens only if all that was looked at is empty, which is refused
  // above.
  YAMANOTE_CHECK(count > 0, "a write of nothing");
  return {Transfer::Status::kDone, 0, static_cast<size_t>(count)};
}

void KernelStream::ShutdownWrite() {
  // Fails only if the peer is gone already, which the next Read() reports.
  shutdown(fd_, SHUT_WR);
}

Result<void> KernelStream::Watch(EventHandler& handler) {
  YAMANOTE_CHECK(handler_ == nullptr, "a stream has one handler at a time");
  const auto added =
      poller_.Add(fd_, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, handler);
  if (added) handler_ = &handler;
  return added;
}

void KernelStream::Unwatch() {
  if (handler_ == nullptr) return;
  poller_.Remove(fd_, *handler_);
  handler_ = nullptr;
}

}  // namespace yamanote::io
