// service.h - a request service: what to do with one request.
//
// A service is served under any scheduler. The protocol says where a request
// ends and which class it is of; the dispatcher orders requests; a worker calls
// Handle() on a user thread of its own, so a handler may block, take Yamanote's
// mutexes, and call CheckPreempt() in long loops.
//
//   class Echo final : public yamanote::Service {
//     void Handle(const yamanote::Request& request, yamanote::Reply& reply) override {
//       reply.Append(request.bytes);
//     }
//   };
//
//   // One line, one request.
//   class Lines final : public yamanote::Protocol {
//     using Frame = yamanote::Frame;
//     Frame Next(yamanote::Bytes input, yamanote::Transport) const override {
//       const auto end = std::find(input.begin(), input.end(), std::byte{'\n'});
//       if (end == input.end()) return {.status = Frame::Status::kNeedMore};
//       return {.status = Frame::Status::kRequest,
//               .size = static_cast<size_t>(end - input.begin()) + 1};
//     }
//     void Refuse(yamanote::Bytes, yamanote::Transport, yamanote::Refusal why,
//                 yamanote::Reply& reply) const override {
//       reply.Append("refused\n");
//       // What is too large has no end to go on from.
//       if (why != yamanote::Refusal::kOverloaded) reply.CloseAfterSend();
//     }
//   };
//
// Source: the application interface of Shinjuku (Kaffes et al., NSDI 2019):
// init, init_per_core, handle_request.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "yamanote/policy.h"
#include "yamanote/result.h"
#include "yamanote/task.h"
#include "yamanote/time.h"

namespace yamanote {

using Bytes = std::span<const std::byte>;

enum class Transport : uint8_t { kTcp, kUdp };

// One request, framed. Valid until Handle() returns.
struct Request {
  Bytes bytes;                // The whole frame, as the protocol delimited it.
  ClassId request_class = 0;  // From Protocol::Next().
  Instant arrival{};          // When its last byte was read.
  Instant deadline = kNever;
  uint64_t flow = 0;          // Hash of the connection or of the UDP peer.
  Transport transport = Transport::kTcp;
};

// Where a handler writes its answer. Used by one thread at a time.
class Reply {
 public:
  // `limit`: bytes that one reply may have.
  explicit Reply(size_t limit) : limit_(limit) {}

  // Appends `bytes`. Returns false, appending nothing, if the reply would
  // exceed the server's limit (`max_reply_bytes`).
  bool Append(Bytes bytes);
  bool Append(std::string_view text) {
    return Append(std::as_bytes(std::span(text)));
  }

  // Closes the connection once what was appended is sent. UDP: no effect.
  void CloseAfterSend() { close_ = true; }

  // UDP: the reply goes out as datagrams of `size` bytes, the last one may be
  // shorter; the handler puts a header at every multiple of `size`. 0, the
  // default: one datagram. TCP: no effect.
  void SplitDatagrams(size_t size) { datagram_bytes_ = size; }

  // Takes back what was appended since Begin() but for the first `keep` bytes.
  void Discard(size_t keep = 0) { buffer_.resize(start_ + keep); }

  // What was appended since Begin().
  Bytes bytes() const { return Bytes(buffer_).subspan(start_); }
  bool close_after_send() const { return close_; }

  // The rest is for the server.

  // Starts the next reply behind those that were not sent yet.
  void Begin() { start_ = buffer_.size(); }
  // Every reply since Clear().
  Bytes all_bytes() const { return buffer_; }
  size_t datagram_bytes() const { return datagram_bytes_; }
  // Forgets everything; gives memory back if it grew beyond `keep_bytes`.
  void Clear(size_t keep_bytes = SIZE_MAX);

 private:
  std::vector<std::byte> buffer_;  // Reused: grows to the largest reply seen.
  size_t start_ = 0;               // Where the reply being written begins.
  size_t limit_;
  size_t datagram_bytes_ = 0;
  bool close_ = false;
};

// Why the server answers a request without running it.
enum class Refusal : uint8_t {
  kOverloaded,  // The class's limit is reached.
  kTooLarge,    // The frame exceeds max_request_bytes.
  kMalformed,   // The frame can't be parsed.
  kShutdown,    // The server is stopping.
};

// What a protocol finds at the start of the input.
struct Frame {
  enum class Status : uint8_t {
    kNeedMore,   // Not a whole request yet; nothing is consumed.
    kRequest,    // `size` bytes are one request.
    kMalformed,  // Skip `size` bytes and send the refusal; size 0: close.
  };
  Status status = Status::kNeedMore;
  // kNeedMore: how many bytes the frame has at least, 0 if that is not known.
  // Next() need not be called again before they are there; the server refuses
  // (kTooLarge) what cannot fit. Otherwise: the bytes of `input` it takes.
  size_t size = 0;
  // Bytes after `size` that belong to the request and that nobody wants to see,
  // such as a value over the limit. The server throws them away as they come; a
  // request is handled, or refused, without waiting for them.
  size_t skip = 0;
  ClassId request_class = 0;
  Duration deadline = Duration::max();  // After arrival; max: none.
};

// Finds requests in bytes. Stateless: one object serves all connections, from
// any thread at once.
class Protocol {
 public:
  virtual ~Protocol() = default;

  // Looks at the start of `input`, which on UDP is one whole datagram. Called
  // again with the same start and more bytes after kNeedMore, so it should look
  // at few bytes more than once.
  virtual Frame Next(Bytes input, Transport transport) const = 0;

  // Appends the protocol's own words for `why` to `reply`. `frame` is the start
  // of what was refused. Closes by reply.CloseAfterSend() if no later request
  // of the connection can be told apart.
  virtual void Refuse(Bytes frame, Transport transport, Refusal why,
                      Reply& reply) const = 0;

  // The classes that Next() returns, by ClassId; with default objectives.
  virtual std::vector<ClassOptions> Classes() const { return {ClassOptions{}}; }
};

class Service {
 public:
  virtual ~Service() = default;

  // Once, before the first request, on a user thread.
  virtual Result<void> Init(unsigned /*cores*/) { return {}; }

  // Once for each core, on that core's kernel thread but not on a user thread, so
  // it must not block; after Init().
  virtual Result<void> InitPerCore(CoreId /*core*/) { return {}; }

  // Handles one request, on a user thread. Called on several cores at once; for
  // one TCP connection one call at a time, in the order of the requests. An
  // empty reply sends nothing.
  virtual void Handle(const Request& request, Reply& reply) = 0;
};

}  // namespace yamanote
