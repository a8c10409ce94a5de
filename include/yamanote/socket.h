// socket.h - blocking TCP and UDP sockets, IPv4 and IPv6, and name resolution.
//
//   Until soon{.deadline = DeadlineIn(1s)};
//   Result<TcpStream> stream = TcpStream::Connect(address, soon);
//   if (!stream) return tl::unexpected(stream.error());
//   Result<void> sent = stream->WriteAll("hello", soon);
//
// Every call may be made on a user thread, which leaves its core to others
// while it waits, and on a plain kernel thread, which sleeps in poll(2). A call
// first tries the system call and waits only if that would block; so one that
// need not wait succeeds whatever its deadline and stop token say.
//
// What every waiting call may answer, beside what it says itself:
//   kDeadlineExceeded  `until.deadline` or the socket's timeout passed
//   kCancelled         `until.stop` was triggered
//   kClosed            Close() was called, here or by another thread
//   kResourceExhausted descriptors, memory or epoll watches ran out
//
// Threads: one may read while another writes. Several may Accept(), RecvFrom()
// or SendTo() at once; each gets whole connections or datagrams. Several
// readers of one stream are safe, but which gets which bytes is not defined;
// the same holds for writers. Close() ends everybody's calls. Moving and
// destroying are for one thread, when no other is in a call.
//
// A socket that has waited on a user thread is bound to the runtime of that
// thread: destroy or Close() it before that runtime goes away.

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "yamanote/address.h"
#include "yamanote/result.h"
#include "yamanote/stop.h"
#include "yamanote/time.h"

namespace yamanote {

namespace net {
class SocketCore;
}

// How long a call waits. Default: for as long as it takes.
struct Until {
  Instant deadline = kNever;
  std::stop_token stop = {};
};

// Read into and written from: a list of parts is used in order.
using ReadBuffer = std::span<std::byte>;
using WriteBuffer = std::span<const std::byte>;

// What all three kinds of socket share.
class Socket {
 public:
  // Limits how long each later call of a kind waits if its own deadline is not
  // earlier; max (the default): not at all. > 0. Any thread.
  void SetReadTimeout(Duration timeout);   // Read, Accept, Recv.
  void SetWriteTimeout(Duration timeout);  // Write, Send.

  // The address at this end; with the port that the kernel chose for 0.
  Result<SocketAddress> LocalAddress() const;

  // Ends all calls in progress with kClosed, and every later one. The
  // descriptor is given back when the last call has left. Closing twice does
  // nothing. Any thread.
  void Close();

  // The descriptor, for getsockopt and the like; non-blocking. -1 if closed.
  int descriptor() const;

 protected:
  explicit Socket(std::unique_ptr<net::SocketCore> core);
  ~Socket();
  Socket(Socket&&) noexcept;
  Socket& operator=(Socket&&) noexcept;

  std::unique_ptr<net::SocketCore> core_;  // nullptr: moved from.
};

// Whether TCP sends small writes at once (TCP_NODELAY; the default here) or
// gathers them while earlier ones are unacknowledged (Nagle's algorithm).
enum class SmallWrites : uint8_t { kSendAtOnce, kGather };

// Which directions of a connection Shutdown() ends.
enum class Ends : uint8_t { kReading, kWriting, kBoth };

class TcpStream final : public Socket {
 public:
  // kUnavailable: nobody listens there, or the network does not reach it.
  static Result<TcpStream> Connect(const SocketAddress& peer,
                                   const Until& until = {});

  // Reads up to buffer.size() bytes, at least one; 0 is the end of the stream
  // (or an empty buffer). kUnavailable: the peer reset the connection.
  Result<size_t> Read(ReadBuffer buffer, const Until& until = {});
  Result<size_t> ReadVector(std::span<const ReadBuffer> buffers,
                            const Until& until = {});

  // Reads exactly buffer.size() bytes. kClosed if the stream ends before; the
  // message says after how many.
  Result<void> ReadFull(ReadBuffer buffer, const Until& until = {});

  // Writes up to bytes.size() bytes, at least one unless it is empty; returns
  // how many. kClosed: the peer does not read any more, or writing was shut
  // down. Never raises SIGPIPE.
  Result<size_t> Write(WriteBuffer bytes, const Until& until = {});
  // At most the first kMaxParts parts are looked at.
  Result<size_t> WriteVector(std::span<const WriteBuffer> parts,
                             const Until& until = {});

  // Writes everything. After an error an unknown part has been written: close.
  Result<void> WriteAll(WriteBuffer bytes, const Until& until = {});
  Result<void> WriteAll(std::string_view text, const Until& until = {}) {
    return WriteAll(std::as_bytes(std::span(text)), until);
  }
  Result<void> WriteAllVector(std::span<const WriteBuffer> parts,
                              const Until& until = {});

  // Ends one or both directions; the peer reads the end after what was written.
  // kUnavailable if the peer is gone already.
  Result<void> Shutdown(Ends ends);

  // Closes at once and tells the peer so (a reset); unsent bytes are dropped.
  void Abort();

  Result<SocketAddress> PeerAddress() const;
  Result<void> Set(SmallWrites small_writes);

  static constexpr size_t kMaxParts = 64;

 private:
  friend class TcpListener;
  using Socket::Socket;
};

struct ListenOptions {
  // Connections that wait for Accept(); the kernel caps it at
  // net.core.somaxconn. 1 .. 65535.
  int backlog = 4096;
  // Several listeners on one port share its connections (SO_REUSEPORT).
  bool reuse_port = false;
  // An IPv6 listener takes IPv4 too, as ::ffff:a.b.c.d.
  bool ipv6_only = false;
};

class TcpListener final : public Socket {
 public:
  // kInvalidArgument: the address is taken or not of this machine;
  // kPermissionDenied: the port is privileged.
  static Result<TcpListener> Listen(const SocketAddress& address,
                                    const ListenOptions& options = {});

  // Waits for a connection. kResourceExhausted if there is no descriptor for
  // it: it stays in the queue, so free some before the next call.
  Result<TcpStream> Accept(const Until& until = {});

 private:
  using Socket::Socket;
};

class UdpSocket final : public Socket {
 public:
  struct Received {
    size_t bytes = 0;        // Put into the buffer.
    bool truncated = false;  // The datagram was longer; its rest is lost.
    SocketAddress from;
  };

  // Port 0: the kernel chooses. Errors as TcpListener::Listen().
  static Result<UdpSocket> Bind(const SocketAddress& address);

  // A socket that sends to `peer` and receives from it alone.
  static Result<UdpSocket> Connect(const SocketAddress& peer);

  // Sends one datagram. kInvalidArgument: longer than 65507 (IPv4) or 65527
  // bytes (IPv6), or the address is of the other family.
  Result<void> SendTo(WriteBuffer bytes, const SocketAddress& to,
                      const Until& until = {});

  // Connected sockets only. kUnavailable: nobody received an earlier datagram.
  Result<void> Send(WriteBuffer bytes, const Until& until = {});

  // Waits for one datagram; an empty one is possible.
  Result<Received> RecvFrom(ReadBuffer buffer, const Until& until = {});
  // The same, of the peer; returns its bytes. A longer one is cut off.
  Result<size_t> Recv(ReadBuffer buffer, const Until& until = {});

  Result<SocketAddress> PeerAddress() const;

 private:
  using Socket::Socket;
};

// Returns the addresses of `host`, best first, each with `port`. A numeric host
// is answered at once. A name is looked up by getaddrinfo(3), which blocks for
// as long as the system's resolver does; so it runs on a helper kernel thread,
// at most 4 at a time, while the caller waits. 64 more lookups queue; beyond
// that kResourceExhausted. A lookup that the caller gave up on ends by itself.
// kNotFound: there is no such name; kUnavailable: the resolver did not answer.
Result<std::vector<SocketAddress>> Resolve(std::string_view host, uint16_t port,
                                           const Until& until = {});

}  // namespace yamanote
