// tcp_listener.cc - accept4 until there is nothing, or enough for now.

#include "net/tcp_listener.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "base/check.h"
#include "io/address.h"
#include "io/system_error.h"
#include "net/host.h"
#include "yamanote/thread.h"

namespace yamanote::net {
namespace {

// The kernel takes net.core.somaxconn if that is less.
constexpr int kBacklog = 4096;

int OpenReserve() { return open("/dev/null", O_RDONLY | O_CLOEXEC); }

}  // namespace

TcpListener::TcpListener(Host& host, int fd)
    : host_(host), fd_(fd), reserve_fd_(OpenReserve()) {}

TcpListener::~TcpListener() {
  YAMANOTE_CHECK(!watching_, "a listener was destroyed before Close()");
  if (reserve_fd_ >= 0) close(reserve_fd_);
  if (fd_ >= 0) close(fd_);
}

Result<void> TcpListener::Watch() {
  // Level-triggered: what a call leaves is reported again.
  if (auto added = host_.poller(0).Add(fd_, EPOLLIN, *this); !added)
    return added;
  watching_ = true;
  return {};
}

void TcpListener::Close() {
  if (fd_ < 0) return;
  if (watching_) AcceptTheLast();
  close(fd_);
  fd_ = -1;
}

void TcpListener::AcceptTheLast() {
  // From here on the kernel drops what comes in for the listening socket
  // itself, so no connection is made between the last accept and close(), to be
  // reset there. Where it can't, few are lost. A connection that is being made
  // just then may inherit the filter: AcceptOne() takes it off.
  sock_filter drop_all = BPF_STMT(BPF_RET | BPF_K, 0);
  const sock_fprog program{.len = 1, .filter = &drop_all};
  setsockopt(fd_, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program));
  host_.poller(0).Remove(fd_, *this);
  watching_ = false;
  for (int i = 0; i < 2 * kBacklog && AcceptOne(); ++i) {
    if (i % kAcceptsPerCall == 0) this_thread::yield();
  }
}

void TcpListener::OnEvents(uint32_t) {
  // DropOne() may have failed to open it again.
  if (reserve_fd_ < 0) reserve_fd_ = OpenReserve();
  for (int i = 0; i < kAcceptsPerCall && AcceptOne(); ++i) {
  }
}

// Returns false if there is nothing more to accept, or no way to.
bool TcpListener::AcceptOne() {
  const int fd = accept4(fd_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd >= 0) {
    const int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (!watching_)
      setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &one, sizeof(one));
    host_.OpenConnection(fd);
    return true;
  }
  if (errno == EMFILE || errno == ENFILE) return DropOne();
  return errno == ECONNABORTED || errno == EINTR;  // That one is gone.
}

// Out of descriptors: an unaccepted connection would be reported for ever.
bool TcpListener::DropOne() {
  if (reserve_fd_ < 0) return false;
  close(reserve_fd_);
  const int fd = accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC);
  if (fd >= 0) {
    close(fd);
    host_.counters().Add(Counter::kRefusedConnections);
  }
  reserve_fd_ = OpenReserve();
  return fd >= 0;
}

Result<int> OpenTcp(const SocketAddress& address) {
  const std::string what = "listen on tcp " + address.ToString();
  const int fd = socket(io::KernelFamily(address.family()),
                        SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return io::SystemError(errno, what);
  const int one = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
  sockaddr_storage storage{};
  const socklen_t size = io::ToSockaddr(address, storage);
  if (bind(fd, reinterpret_cast<const sockaddr*>(&storage), size) != 0 ||
      listen(fd, kBacklog) != 0) {
    const int error = errno;
    close(fd);
    return io::SystemError(error, what);
  }
  return fd;
}

SocketAddress BoundAddress(int fd) {
  sockaddr_storage storage{};
  socklen_t size = sizeof(storage);
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &size) != 0)
    return {};
  return io::FromSockaddr(storage, size);
}

}  // namespace yamanote::net
