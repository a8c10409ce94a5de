// sockets.cc - looks addresses up and connects.

#include "tools/load/sockets.h"

#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

namespace yamanote::load {
namespace {

// Best effort: the kernel caps it at net.core.rmem_max.
constexpr int kBufferBytes = 4 << 20;

tl::unexpected<Error> SystemError(const std::string& what, int error,
                                  std::string_view remedy) {
  const ErrorCode code = error == EMFILE || error == ENFILE
                             ? ErrorCode::kResourceExhausted
                             : ErrorCode::kUnavailable;
  return MakeError(
      code, fmt::format("{}: {}; {}", what, ErrnoText(error), remedy), error);
}

constexpr std::string_view kRemedy =
    "is the server running, and does it listen on this address and protocol?";

// Waits for a non-blocking connect to end. Returns its errno.
int FinishConnect(int fd, Duration timeout) {
  pollfd wait{.fd = fd, .events = POLLOUT, .revents = 0};
  const int ready =
      poll(&wait, 1, static_cast<int>(ToNanos(timeout) / 1'000'000));
  if (ready == 0) return ETIMEDOUT;
  if (ready < 0) return errno;
  int error = 0;
  socklen_t size = sizeof(error);
  getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
  return error;
}

}  // namespace

std::string ErrnoText(int error) {
  return std::generic_category().message(error);
}

void Descriptor::Close() {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
}

Result<Target> ParseTarget(std::string_view text) {
  const size_t colon = text.rfind(':');
  std::string host(text.substr(0, colon == std::string_view::npos ? 0 : colon));
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string::npos) {
    host.clear();  // IPv6 without brackets: the port can't be told apart.
  }
  const std::string port(
      colon == std::string_view::npos ? "" : text.substr(colon + 1));
  const bool numeric =
      !port.empty() && port.size() <= 5 &&
      port.find_first_not_of("0123456789") == std::string::npos;
  if (host.empty() || !numeric || std::stoi(port) < 1 ||
      std::stoi(port) > 65535) {
    return MakeError(
        ErrorCode::kInvalidArgument,
        fmt::format("--target is '{}'; it must be ADDRESS:PORT with a "
                    "port from 1 to 65535, for example 127.0.0.1:9000 "
                    "or [::1]:9000",
                    text.substr(0, 80)));
  }
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (const int error = getaddrinfo(host.c_str(), port.c_str(), &hints, &found);
      error != 0 || found == nullptr) {
    return MakeError(
        ErrorCode::kNotFound,
        fmt::format("--target: the address '{}' is unknown ({}); give a "
                    "numeric address or check the name",
                    host.substr(0, 80), gai_strerror(error)));
  }
  Target target;
  std::memcpy(&target.address, found->ai_addr, found->ai_addrlen);
  target.size = found->ai_addrlen;
  target.text = text;
  freeaddrinfo(found);
  return target;
}

Result<Descriptor> Connect(const Target& target, Transport transport,
                           Duration timeout) {
  const int type = transport == Transport::kTcp ? SOCK_STREAM : SOCK_DGRAM;
  Descriptor socket_fd(
      socket(target.address.ss_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket_fd.open()) {
    return SystemError("opening a socket", errno,
                       "use fewer --connections or raise `ulimit -n`");
  }
  const int fd = socket_fd.get();
  // TCP sizes its buffers itself, and better than a fixed size.
  if (transport == Transport::kUdp) {
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &kBufferBytes, sizeof(kBufferBytes));
  }
  if (transport == Transport::kTcp) {
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  }
  const auto* address = reinterpret_cast<const sockaddr*>(&target.address);
  int error = connect(fd, address, target.size) == 0 ? 0 : errno;
  if (error == EINPROGRESS) error = FinishConnect(fd, timeout);
  if (error != 0) {
    return SystemError(fmt::format("connecting to {}", target.text), error,
                       kRemedy);
  }
  return socket_fd;
}

}  // namespace yamanote::load
