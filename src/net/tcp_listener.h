// tcp_listener.h - accepts TCP connections for a server.

#pragma once

#include "io/poller.h"
#include "yamanote/address.h"

namespace yamanote::net {

class Host;

class TcpListener final : public io::EventHandler {
 public:
  // Takes `fd`, which listens and does not block.
  TcpListener(Host& host, int fd);
  ~TcpListener() override;

  Result<void> Watch();
  // Listens no more. Connections that were made before are all accepted; one
  // whose handshake has not ended is reset. Again has no effect.
  void Close();

  void OnEvents(uint32_t events) override;

  int fd() const { return fd_; }

 private:
  // Connections taken in one call, so that a flood of them does not hold the core.
  static constexpr int kAcceptsPerCall = 16;

  void AcceptTheLast();
  bool AcceptOne();
  bool DropOne();

  Host& host_;
  int fd_;          // -1 after Close().
  int reserve_fd_;  // Given up to accept and close where descriptors run out.
  bool watching_ = false;
};

// Opens a listening, non-blocking socket.
Result<int> OpenTcp(const SocketAddress& address);

// Returns the address that `fd` is bound to.
SocketAddress BoundAddress(int fd);

}  // namespace yamanote::net
