// sockets.h - addresses and connected, non-blocking client sockets.

#pragma once

#include <sys/socket.h>

#include <string>
#include <string_view>
#include <utility>

#include "yamanote/result.h"
#include "yamanote/service.h"
#include "yamanote/time.h"

namespace yamanote::load {

struct Target {
  sockaddr_storage address{};
  socklen_t size = 0;
  std::string text{};
};

// Reads "127.0.0.1:9000", "[::1]:9000" or "host:9000" and looks the host up.
Result<Target> ParseTarget(std::string_view text);

// Owns a descriptor.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor() { Close(); }

  int get() const { return fd_; }
  bool open() const { return fd_ >= 0; }
  void Close();

 private:
  int fd_ = -1;
};

// Connects, at most `timeout` long; TCP gets TCP_NODELAY. Errors name the target
// and the remedy. May block; any thread.
Result<Descriptor> Connect(const Target& target, Transport transport,
                           Duration timeout);

// The text of an errno, safe in any thread.
std::string ErrnoText(int error);

}  // namespace yamanote::load
