// stream.h - a connection's bytes, from the kernel or from memory.
//
// The server's connection logic is written against ByteStream, so that tests
// drive it in virtual time with short reads, full buffers and resets at will
// (io/memory.h) while servers use sockets (KernelStream).
//
// No call blocks. Readiness is edge-triggered: after an answer kWouldBlock the
// handler is called once when trying again may help; it may be called more
// often.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "io/poller.h"
#include "yamanote/result.h"

namespace yamanote::io {

// What became of one Read() or Write().
struct Transfer {
  enum class Status : uint8_t {
    kDone,        // `bytes` > 0 were moved, perhaps fewer than asked.
    kWouldBlock,  // None now; wait for the handler's next call.
    kEnd,         // Read: the peer sends no more. Write: never.
    kError,       // The connection is broken; `error` is an errno such as
                  // ECONNRESET or EPIPE. Every later call answers the same or
                  // kEnd: close it.
  };
  Status status = Status::kWouldBlock;
  int error = 0;
  size_t bytes = 0;
};

// Parts that one Write() looks at; it leaves further ones for the next call.
inline constexpr size_t kMaxWriteParts = 64;

// Used by one thread at a time, but the handler may be called on another one.
// Destroying it closes the connection; bytes written before are still delivered
// unless the peer's bytes were left unread (then the peer sees a reset).
class ByteStream {
 public:
  using ConstBytes = std::span<const std::byte>;

  virtual ~ByteStream() = default;

  // Moves up to buffer.size() > 0 bytes into `buffer`.
  virtual Transfer Read(std::span<std::byte> buffer) = 0;

  // Moves bytes out of `parts`, in order, together at least one byte long.
  virtual Transfer Write(std::span<const ConstBytes> parts) = 0;
  Transfer Write(ConstBytes bytes) { return Write(std::span(&bytes, 1)); }

  // True if a Read() that moves fewer bytes than asked has emptied the stream, as
  // kWouldBlock would have told: what comes later reaches the handler.
  virtual bool ShortReadEmpties() const { return false; }

  // Ends the outgoing direction: the peer reads kEnd after what was written.
  virtual void ShutdownWrite() = 0;

  // Calls `handler` from now on: once soon, with what is ready already, then at
  // each edge, with EPOLLIN, EPOLLOUT, EPOLLRDHUP, EPOLLHUP and EPOLLERR as the
  // kernel would. At most one handler at a time. Errors: Poller::Add().
  virtual Result<void> Watch(EventHandler& handler) = 0;

  // After it returns the handler is not called any more; see Poller::Remove().
  // Nothing happens if none is watching. Must precede the destructor.
  virtual void Unwatch() = 0;
};

// A connected, non-blocking stream socket.
class KernelStream final : public ByteStream {
 public:
  using ByteStream::Write;

  // Takes `fd`, which must be non-blocking; `poller` must outlive the stream.
  KernelStream(int fd, Poller& poller) : fd_(fd), poller_(poller) {}
  ~KernelStream() override;
  KernelStream(const KernelStream&) = delete;
  KernelStream& operator=(const KernelStream&) = delete;

  Transfer Read(std::span<std::byte> buffer) override;
  Transfer Write(std::span<const ConstBytes> parts) override;
  bool ShortReadEmpties() const override { return true; }
  void ShutdownWrite() override;
  Result<void> Watch(EventHandler& handler) override;
  void Unwatch() override;

  int fd() const { return fd_; }

 private:
  const int fd_;
  Poller& poller_;
  EventHandler* handler_ = nullptr;  // Who watches.
};

}  // namespace yamanote::io
