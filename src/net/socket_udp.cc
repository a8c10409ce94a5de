// socket_udp.cc - UDP sockets.

#include <netinet/in.h>
#include <sys/socket.h>

#include <string>
#include <utility>

#include "io/address.h"
#include "io/system_error.h"
#include "net/socket_core.h"
#include "yamanote/socket.h"

namespace yamanote {
namespace {

using net::Direction;
using net::SocketCore;

using SetAddress = int (*)(int, const sockaddr*, socklen_t);

int CallBind(int fd, const sockaddr* address, socklen_t size) {
  return bind(fd, address, size);
}
int CallConnect(int fd, const sockaddr* address, socklen_t size) {
  return connect(fd, address, size);
}

Result<std::unique_ptr<SocketCore>> Make(const SocketAddress& address,
                                         const char* verb, SetAddress set) {
  auto core = SocketCore::Create(address.family(), SOCK_DGRAM);
  if (!core) return core;
  sockaddr_storage storage{};
  const socklen_t size = io::ToSockaddr(address, storage);
  const std::string what = verb + address.ToString();
  const Result<void> done = (*core)->Once(what.c_str(), [&](int fd) {
    if (address.family() == AddressFamily::kIpv6) {
      const int off = 0;
      if (setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) != 0)
        return -1;
    }
    return set(fd, reinterpret_cast<const sockaddr*>(&storage), size);
  });
  if (!done) return tl::unexpected(done.error());
  return core;
}

}  // namespace

Result<UdpSocket> UdpSocket::Bind(const SocketAddress& address) {
  auto core = Make(address, "bind udp ", &CallBind);
  if (!core) return tl::unexpected(core.error());
  return UdpSocket(std::move(*core));
}

Result<UdpSocket> UdpSocket::Connect(const SocketAddress& peer) {
  auto core = Make(peer, "connect udp ", &CallConnect);
  if (!core) return tl::unexpected(core.error());
  return UdpSocket(std::move(*core));
}

Result<void> UdpSocket::SendTo(WriteBuffer bytes, const SocketAddress& to,
                               const Until& until) {
  sockaddr_storage storage{};
  const socklen_t size = io::ToSockaddr(to, storage);
  const auto sent =
      core_->Run(Direction::kWrite, until, "udp send", [&](int fd) {
        return sendto(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL,
                      reinterpret_cast<const sockaddr*>(&storage), size);
      });
  if (!sent) {
    Error error = sent.error();
    error.message += " (" + std::to_string(bytes.size()) + " bytes to " +
                     to.ToString() + ")";
    return tl::unexpected(std::move(error));
  }
  return {};
}

Result<void> UdpSocket::Send(WriteBuffer bytes, const Until& until) {
  const auto sent =
      core_->Run(Direction::kWrite, until, "udp send", [&](int fd) {
        return send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      });
  if (!sent) return tl::unexpected(sent.error());
  return {};
}

Result<UdpSocket::Received> UdpSocket::RecvFrom(ReadBuffer buffer,
                                                const Until& until) {
  Received received;
  sockaddr_storage storage{};
  iovec vector{buffer.data(), buffer.size()};
  const auto count =
      core_->Run(Direction::kRead, until, "udp receive", [&](int fd) {
        msghdr message{};
        message.msg_name = &storage;
        message.msg_namelen = sizeof(storage);
        message.msg_iov = &vector;
        message.msg_iovlen = 1;
        const ssize_t result = recvmsg(fd, &message, 0);
        if (result >= 0) {
          received.truncated = (message.msg_flags & MSG_TRUNC) != 0;
          received.from = io::FromSockaddr(storage, message.msg_namelen);
        }
        return result;
      });
  if (!count) return tl::unexpected(count.error());
  received.bytes = *count;
  return received;
}

Result<size_t> UdpSocket::Recv(ReadBuffer buffer, const Until& until) {
  return core_->Run(Direction::kRead, until, "udp receive", [&](int fd) {
    return recv(fd, buffer.data(), buffer.size(), 0);
  });
}

Result<SocketAddress> UdpSocket::PeerAddress() const {
  sockaddr_storage storage{};
  socklen_t size = sizeof(storage);
  const Result<void> done = core_->Once("getpeername", [&](int fd) {
    return getpeername(fd, reinterpret_cast<sockaddr*>(&storage), &size);
  });
  if (!done) return tl::unexpected(done.error());
  return io::FromSockaddr(storage, size);
}

}  // namespace yamanote
