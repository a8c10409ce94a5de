// socket_tcp.cc - the public socket base, TCP streams and listeners.

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
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

constexpr int kOn = 1;
constexpr int kOff = 0;

int SetOption(int fd, int level, int option, int value) {
  return setsockopt(fd, level, option, &value, sizeof(value));
}

Result<SocketAddress> AddressOf(const SocketCore& core, const char* what,
                                int (*get)(int, sockaddr*, socklen_t*)) {
  sockaddr_storage storage{};
  socklen_t size = sizeof(storage);
  const Result<void> done = core.Once(what, [&](int fd) {
    return get(fd, reinterpret_cast<sockaddr*>(&storage), &size);
  });
  if (!done) return tl::unexpected(done.error());
  return io::FromSockaddr(storage, size);
}

int GetLocal(int fd, sockaddr* address, socklen_t* size) {
  return getsockname(fd, address, size);
}
int GetPeer(int fd, sockaddr* address, socklen_t* size) {
  return getpeername(fd, address, size);
}

// The kernel's form of up to kMaxParts parts.
class Vectors {
 public:
  template <typename Part>
  explicit Vectors(std::span<const Part> parts)
      : count_(std::min(parts.size(), TcpStream::kMaxParts)) {
    for (size_t i = 0; i < count_; ++i) {
      // The kernel only reads through it if Part is constant.
      vectors_[i] = {const_cast<std::byte*>(parts[i].data()), parts[i].size()};
      bytes_ += parts[i].size();
    }
  }
  size_t bytes() const { return bytes_; }
  msghdr Message() {
    msghdr message{};
    message.msg_iov = vectors_;
    message.msg_iovlen = count_;
    return message;
  }

 private:
  iovec vectors_[TcpStream::kMaxParts];
  size_t count_;
  size_t bytes_ = 0;
};

// Adds what was done before the failure to its message.
tl::unexpected<Error> After(Error error, size_t done, size_t wanted) {
  error.message += " (after " + std::to_string(done) + " of " +
                   std::to_string(wanted) + " bytes)";
  return tl::unexpected(std::move(error));
}

}  // namespace

Socket::Socket(std::unique_ptr<SocketCore> core) : core_(std::move(core)) {}
Socket::~Socket() = default;
Socket::Socket(Socket&&) noexcept = default;
Socket& Socket::operator=(Socket&&) noexcept = default;

void Socket::SetReadTimeout(Duration timeout) {
  core_->SetTimeout(Direction::kRead, timeout);
}
void Socket::SetWriteTimeout(Duration timeout) {
  core_->SetTimeout(Direction::kWrite, timeout);
}
void Socket::Close() { core_->Close(); }
int Socket::descriptor() const {
  return core_ == nullptr ? -1 : core_->descriptor();
}

Result<SocketAddress> Socket::LocalAddress() const {
  return AddressOf(*core_, "getsockname", &GetLocal);
}

Result<TcpStream> TcpStream::Connect(const SocketAddress& peer,
                                     const Until& until) {
  auto core = SocketCore::Create(peer.family(), SOCK_STREAM);
  if (!core) return tl::unexpected(core.error());
  TcpStream stream(std::move(*core));
  const Result<void> set = stream.Set(SmallWrites::kSendAtOnce);
  if (!set) return tl::unexpected(set.error());
  sockaddr_storage storage{};
  const socklen_t size = io::ToSockaddr(peer, storage);
  const std::string what = "connect to " + peer.ToString();
  // Called again after a wait, connect() answers 0, EISCONN or what went wrong.
  const auto connected =
      stream.core_->Run(Direction::kWrite, until, what.c_str(), [&](int fd) {
        const int result =
            connect(fd, reinterpret_cast<const sockaddr*>(&storage), size);
        return result < 0 && errno == EISCONN ? 0 : result;
      });
  if (!connected) return tl::unexpected(connected.error());
  // With no listener there, the kernel may choose the peer's port as the local
  // one and connect the socket to itself.
  const auto local = stream.LocalAddress();
  if (local && *local == peer) return io::SystemError(ECONNREFUSED, what);
  return stream;
}

Result<size_t> TcpStream::Read(ReadBuffer buffer, const Until& until) {
  return core_->Run(Direction::kRead, until, "tcp read", [&](int fd) {
    return recv(fd, buffer.data(), buffer.size(), 0);
  });
}

Result<size_t> TcpStream::ReadVector(std::span<const ReadBuffer> buffers,
                                     const Until& until) {
  Vectors vectors(buffers);
  return core_->Run(Direction::kRead, until, "tcp read", [&](int fd) {
    msghdr message = vectors.Message();
    return recvmsg(fd, &message, 0);
  });
}

Result<void> TcpStream::ReadFull(ReadBuffer buffer, const Until& until) {
  size_t done = 0;
  while (done < buffer.size()) {
    const Result<size_t> count = Read(buffer.subspan(done), until);
    if (!count) return After(count.error(), done, buffer.size());
    if (*count == 0) {
      return After(
          {ErrorCode::kClosed, "tcp read: the peer ended the stream", 0}, done,
          buffer.size());
    }
    done += *count;
  }
  return {};
}

Result<size_t> TcpStream::Write(WriteBuffer bytes, const Until& until) {
  return core_->Run(Direction::kWrite, until, "tcp write", [&](int fd) {
    return send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  });
}

Result<size_t> TcpStream::WriteVector(std::span<const WriteBuffer> parts,
                                      const Until& until) {
  Vectors vectors(parts);
  return core_->Run(Direction::kWrite, until, "tcp write", [&](int fd) {
    msghdr message = vectors.Message();
    return sendmsg(fd, &message, MSG_NOSIGNAL);
  });
}

Result<void> TcpStream::WriteAll(WriteBuffer bytes, const Until& until) {
  size_t done = 0;
  while (done < bytes.size()) {
    const Result<size_t> count = Write(bytes.subspan(done), until);
    if (!count) return After(count.error(), done, bytes.size());
    done += *count;
  }
  return {};
}

Result<void> TcpStream::WriteAllVector(std::span<const WriteBuffer> parts,
                                       const Until& until) {
  size_t wanted = 0;
  for (const WriteBuffer part : parts) wanted += part.size();
  size_t done = 0;
  size_t skip = 0;  // Bytes of parts[0] that are written.
  while (done < wanted) {
    WriteBuffer window[kMaxParts];
    size_t used = 0;
    for (; used < std::min(parts.size(), kMaxParts); ++used) {
      window[used] = used == 0 ? parts[0].subspan(skip) : parts[used];
    }
    const std::span<const WriteBuffer> looked_at(window, used);
    const bool all_empty =
        std::all_of(looked_at.begin(), looked_at.end(),
                    [](WriteBuffer part) { return part.empty(); });
    size_t count = 0;
    if (!all_empty) {
      const Result<size_t> written = WriteVector(looked_at, until);
      if (!written) return After(written.error(), done, wanted);
      count = *written;
    }
    done += count;
    skip += count;
    while (!parts.empty() && skip >= parts[0].size()) {
      skip -= parts[0].size();
      parts = parts.subspan(1);
    }
  }
  return {};
}

Result<void> TcpStream::Shutdown(Ends ends) {
  const int how = ends == Ends::kReading   ? SHUT_RD
                  : ends == Ends::kWriting ? SHUT_WR
                                           : SHUT_RDWR;
  return core_->Once("tcp shutdown",
                     [how](int fd) { return shutdown(fd, how); });
}

void TcpStream::Abort() {
  const linger reset{1, 0};
  // Fails only if the socket is closed already, and then there is nothing to
  // do.
  static_cast<void>(core_->Once("tcp abort", [&](int fd) {
    return setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
  }));
  Close();
}

Result<SocketAddress> TcpStream::PeerAddress() const {
  return AddressOf(*core_, "getpeername", &GetPeer);
}

Result<void> TcpStream::Set(SmallWrites small_writes) {
  const int value = small_writes == SmallWrites::kSendAtOnce ? kOn : kOff;
  return core_->Once("set TCP_NODELAY", [value](int fd) {
    return SetOption(fd, IPPROTO_TCP, TCP_NODELAY, value);
  });
}

Result<TcpListener> TcpListener::Listen(const SocketAddress& address,
                                        const ListenOptions& options) {
  if (options.backlog < 1 || options.backlog > 65535) {
    return MakeError(ErrorCode::kInvalidArgument,
                     "listen: backlog is " + std::to_string(options.backlog) +
                         "; it must be 1 .. 65535");
  }
  auto core = SocketCore::Create(address.family(), SOCK_STREAM);
  if (!core) return tl::unexpected(core.error());
  TcpListener listener(std::move(*core));
  sockaddr_storage storage{};
  const socklen_t size = io::ToSockaddr(address, storage);
  const std::string what = "listen on " + address.ToString();
  const Result<void> done = listener.core_->Once(what.c_str(), [&](int fd) {
    // Takes the port over from connections of a listener that is gone.
    if (SetOption(fd, SOL_SOCKET, SO_REUSEADDR, kOn) != 0) return -1;
    if (options.reuse_port && SetOption(fd, SOL_SOCKET, SO_REUSEPORT, kOn) != 0)
      return -1;
    if (address.family() == AddressFamily::kIpv6 &&
        SetOption(fd, IPPROTO_IPV6, IPV6_V6ONLY,
                  options.ipv6_only ? kOn : kOff) != 0) {
      return -1;
    }
    if (bind(fd, reinterpret_cast<const sockaddr*>(&storage), size) != 0)
      return -1;
    return listen(fd, options.backlog);
  });
  if (!done) return tl::unexpected(done.error());
  return listener;
}

Result<TcpStream> TcpListener::Accept(const Until& until) {
  const auto accepted =
      core_->Run(Direction::kRead, until, "accept", [](int fd) {
        for (;;) {
          const int result =
              accept4(fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
          // These concern one connection that broke while it waited: take the
          // next.
          if (result < 0 && (errno == ECONNABORTED || errno == EPROTO ||
                             errno == ENETDOWN || errno == EHOSTUNREACH ||
                             errno == ENETUNREACH || errno == EHOSTDOWN)) {
            continue;
          }
          return result;
        }
      });
  if (!accepted) return tl::unexpected(accepted.error());
  TcpStream stream(std::make_unique<SocketCore>(static_cast<int>(*accepted)));
  // Fails only if the peer is gone already, which the first read reports.
  static_cast<void>(stream.Set(SmallWrites::kSendAtOnce));
  return stream;
}

}  // namespace yamanote
