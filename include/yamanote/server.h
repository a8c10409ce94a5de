// server.h - serves a Service to clients over TCP and UDP.
//
//   auto runtime = yamanote::Runtime::Create({.cores = 2});
//   if (!runtime) return tl::unexpected(runtime.error());
//   Echo echo;    // A Service and
//   Lines lines;  // a Protocol: service.h has both.
//   auto server = yamanote::Server::Start(
//       {.listen = {*yamanote::SocketAddress::Parse("127.0.0.1:7777")}}, lines, echo);
//   if (!server) return tl::unexpected(server.error());
//   int signal = 0;    // The workers serve meanwhile. SIGTERM and SIGINT were blocked
//   sigwait(&signals, &signal);  // before the runtime was made (examples/primes).
//   (*server)->Stop();
//
// How requests are ordered and where they run is the runtime's scheduling
// (runtime.h); the server is the same under all of it.

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "yamanote/address.h"
#include "yamanote/result.h"
#include "yamanote/service.h"
#include "yamanote/time.h"

namespace yamanote {

// TCP connections beyond max_connections that are being refused at a time. They
// have a descriptor each, so a process that limits its descriptors leaves room.
inline constexpr uint32_t kMostRefusing = 64;

struct ServerOptions {
  // Where to listen. Port 0: the kernel picks one (Server::tcp_addresses()); with
  // TCP and UDP both, the same for both. 1 .. 64 addresses. UDP replies from a wildcard
  // address leave by whatever address the route has, and clients that wait for the one
  // they asked miss them: on a host with several, list each.
  std::vector<SocketAddress> listen = {};
  bool tcp = true;
  bool udp = false;

  // Open TCP connections; more are answered with the protocol's kOverloaded and
  // closed, kMostRefusing at a time, and beyond those closed at once. 1 .. 1 Mi.
  uint32_t max_connections = 16 * 1024;
  // Bytes of a request and of a reply. 64 .. 1 Gi.
  size_t max_request_bytes = 1 << 20;
  size_t max_reply_bytes = 8 << 20;
  // Bytes of a reply over UDP, beside max_reply_bytes: it is built and sent at
  // once, to a sender's address that may be forged. What is larger suits TCP; few
  // sockets' receive buffers would hold it. 256 .. 1 Gi.
  size_t max_udp_reply_bytes = 256 << 10;
  // What all connections' and datagrams' buffers may take together beyond 64 KiB
  // each for input and for output. When it is spent, a request that needs more is
  // refused (kOverloaded), and Reply::Append() returns false for what exceeds 64 KiB;
  // smaller ones go on. From twice max_request_bytes and max_reply_bytes, because a
  // buffer that grows exists twice for a moment, to 1 Ti.
  size_t max_buffer_bytes = 256 << 20;
  // Bytes of a request over UDP; longer ones are answered with kTooLarge.
  // 64 .. 65507.
  size_t max_datagram_bytes = 2048;
  // UDP requests in the server at a time, each with a buffer of
  // max_datagram_bytes. Beyond, datagrams wait in the kernel, which drops them
  // (and counts) when its buffer is full. 256 .. 16 Mi.
  uint32_t max_datagrams = 64 * 1024;
  // Bytes of kernel buffer asked for each UDP socket, per direction.
  size_t socket_buffer_bytes = 4 << 20;

  // A connection is closed that has had no request and no reply for so long, up
  // to a quarter late; ...
  Duration idle_timeout = std::chrono::minutes(10);
  // ... that takes so long from a request's first byte to its last; ...
  Duration request_timeout = std::chrono::seconds(30);
  // ... that takes no byte of its reply for so long. Up to an eighth late. > 0.
  Duration send_timeout = std::chrono::seconds(30);

  // How long Stop() waits for requests in flight. >= 0.
  Duration drain_timeout = std::chrono::seconds(5);
  // How long a UDP reply may wait for others to share its system call, where
  // other requests wait for the core; never longer than a quarter of what its
  // request has taken. 0: not at all.
  Duration reply_delay = std::chrono::microseconds(100);

  // By ClassId: names, objectives and limits. Empty: Protocol::Classes().
  std::vector<ClassOptions> classes = {};
};

// Counts since the start, summed over cores.
struct ServerStats {
  uint64_t accepted = 0;  // TCP connections.
  uint64_t open = 0;      // TCP connections now.
  // max_connections or the system's limit was reached.
  uint64_t refused_connections = 0;
  uint64_t requests = 0;    // The service was given.
  uint64_t replies = 0;     // The service wrote; empty ones don't count.
  uint64_t overloaded = 0;  // Requests refused, by reason.
  uint64_t too_large = 0;
  uint64_t malformed = 0;
  uint64_t shutdown = 0;
  uint64_t truncated = 0;  // Connections that ended inside a request.
  uint64_t timed_out = 0;  // Connections closed by a timeout.
  uint64_t dropped = 0;    // Datagrams lost or not worth an answer.
  // Datagrams lost because the kernel's buffer was full.
  uint64_t kernel_dropped = 0;
  uint64_t unsent = 0;        // Replies whose peer could not be reached.
  uint64_t buffer_bytes = 0;  // Of max_buffer_bytes, taken now.
  uint64_t bytes_in = 0;
  uint64_t bytes_out = 0;
  uint64_t receive_batches = 0;  // UDP system calls; datagrams per call tell
  uint64_t send_batches = 0;     // how well batching works.
};

class Server {
 public:
  // Initialises `service` and accepts requests when it returns. `protocol` and
  // `service` must outlive the server. kInvalidArgument names the option;
  // kUnavailable: there is no runtime, or it has a server already; what Init()
  // and the operating system answer. Plain kernel threads and user threads.
  static Result<std::unique_ptr<Server>> Start(ServerOptions options,
                                               const Protocol& protocol,
                                               Service& service);

  // As Stop().
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Accepts no more, answers requests in flight, refuses further ones
  // (kShutdown), and after drain_timeout closes what is still open. Returns when
  // no handler runs any more. Any thread but a handler's; again has no effect.
  //
  // What clients may rely on, within drain_timeout and while they take their answers:
  // - A request that is in this machine's receive buffer when Stop() is called, of a
  //   connection accepted or not, is answered: with its result or with a refusal.
  // - A request that comes later is too, or it crosses the end of the stream (of the
  //   socket, for UDP). Over TCP it was not run then, and the stream ends in order; a
  //   reset follows only if the client sends on for a second or 4 MiB. So what has no
  //   answer before the end of the stream can be repeated elsewhere.
  // - New clients are turned away by the kernel; one whose handshake was under way
  //   may be reset.
  // A protocol whose Refuse() closes at kShutdown gives up the first promise for the
  // requests behind the first that is refused.
  void Stop();

  // Where it listens, in the order of `listen`; ports are never 0. Empty if the
  // transport is off. Any thread.
  const std::vector<SocketAddress>& tcp_addresses() const;
  const std::vector<SocketAddress>& udp_addresses() const;

  // Any thread.
  ServerStats stats() const;
  const ServerOptions& options() const;

  class Impl;

 private:
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace yamanote
