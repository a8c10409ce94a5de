// test_client.h - a blocking client over plain kernel sockets, for tests.

#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <string_view>

#include "io/address.h"

namespace yamanote::net {

class TestClient {
 public:
  // `kind`: SOCK_STREAM or SOCK_DGRAM. `receive_buffer`: 0 is the kernel's own.
  TestClient(const SocketAddress& server, int kind, int receive_buffer = 0)
      : fd_(socket(io::KernelFamily(server.family()), kind | SOCK_CLOEXEC, 0)) {
    // A test that waits so long has failed.
    const timeval limit{.tv_sec = 10, .tv_usec = 0};
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    if (receive_buffer > 0) {
      setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer,
                 sizeof(receive_buffer));
    }
    sockaddr_storage storage{};
    const socklen_t size = io::ToSockaddr(server, storage);
    EXPECT_EQ(connect(fd_, reinterpret_cast<const sockaddr*>(&storage), size),
              0);
  }
  ~TestClient() {
    if (fd_ >= 0) close(fd_);
  }
  TestClient(const TestClient&) = delete;
  TestClient& operator=(const TestClient&) = delete;

  bool Send(std::string_view text) {
    return send(fd_, text.data(), text.size(), MSG_NOSIGNAL) ==
           static_cast<ssize_t>(text.size());
  }

  // Returns `bytes` bytes, fewer if the server closes or answers nothing.
  std::string Receive(size_t bytes) {
    std::string text(bytes, '\0');
    size_t got = 0;
    while (got < bytes) {
      const ssize_t n = recv(fd_, text.data() + got, bytes - got, 0);
      if (n <= 0) break;
      got += static_cast<size_t>(n);
    }
    text.resize(got);
    return text;
  }

  // Returns everything until the server closes.
  std::string ReceiveAll() {
    std::string text;
    char part[4096];
    for (;;) {
      const ssize_t n = recv(fd_, part, sizeof(part), 0);
      if (n <= 0) return n == 0 ? text : text + "[error]";
      text.append(part, static_cast<size_t>(n));
    }
  }

  std::string ReceiveDatagram() {
    std::string text(65536, '\0');
    const ssize_t n = recv(fd_, text.data(), text.size(), 0);
    text.resize(n < 0 ? 0 : static_cast<size_t>(n));
    return n < 0 ? "[none]" : text;
  }

  int fd() const { return fd_; }

  void EndOutput() { shutdown(fd_, SHUT_WR); }

  // Vanishes: the server gets a reset instead of an end.
  void Kill() {
    const linger now{.l_onoff = 1, .l_linger = 0};
    setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    close(fd_);
    fd_ = -1;
  }

 private:
  int fd_;
};

}  // namespace yamanote::net
