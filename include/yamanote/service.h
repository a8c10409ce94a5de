// service.h - a request service: what to do with one request.
//
// A service is served under any scheduler. The protocol says where a request
// ends and which class it is of; the dispatcher orders requests; a worker calls
// Handle() on a user thread of its own, so a handler may block, take Yamanote's
// mutexes, and call CheckPreempt() in long loops (not needed where it has probes:
// yamanote/thread.h).
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
//       if (end == input.end())
//         return {.status = Frame::Status::kNeedMore, .until = std::byte{'\n'}};
//       return {.status = Frame::Status::kRequest,
//               .size = static_cast<size_t>(end - input.begin()) + 1};
//     }
//     void Refuse(yamanote::Bytes, yamanote::Transport, yamanote::Refusal why,
//                 yamanote::Reply& reply) const override {
//       reply.Append("refused\n");
//       // What is too large or malformed has no end to go on from.
//       using yamanote::Refusal;
//       const bool lost = why == Refusal::kTooLarge || why == Refusal::kMalformed;
//       if (lost) reply.CloseAfterSend();
//     }
//   };
//
// Source: the application interface of Shinjuku (Kaffes et al., NSDI 2019):
// init, init_per_core, handle_request.

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "yamanote/policy.h"
#include "yamanote/result.h"
#include "yamanote/task.h"
#include "yamanote/time.h"

namespace yamanote {

namespace net {
class MemoryBudget;
}

using Bytes = std::span<const std::byte>;

enum class Transport : uint8_t { kTcp, kUdp };

// One request, framed. Valid until Handle() returns.
struct Request {
  Bytes bytes;                // The whole frame, as the protocol delimited it.
  ClassId request_class = 0;  // From Protocol::Next().
  Instant arrival{};          // When its last byte was read.
  Instant deadline = kNever;
  uint64_t flow = 0;  // Hash of the connection or of the UDP peer.
  Transport transport = Transport::kTcp;
};

// Where a handler writes its answer. Used by one thread at a time.
class Reply {
 public:
  // `limit`: bytes that one reply may have. `budget`: the server's; it outlives
  // the reply. nullptr: no bound on all replies together.
  explicit Reply(size_t limit, net::MemoryBudget* budget = nullptr)
      : limit_(limit), budget_(budget) {}
  ~Reply();
  Reply(const Reply&) = delete;
  Reply& operator=(const Reply&) = delete;

  // Appends `bytes`. Returns false, appending nothing, if the reply would
  // exceed the server's limit (`max_reply_bytes`, over UDP
  // `max_udp_reply_bytes`), or is larger than 64 KiB while the clients' buffers have all the memory they may have
  // (`max_buffer_bytes`). The handler answers that in its protocol's words:
  // after Discard() there is room for some 48 KiB in any case.
  bool Append(Bytes bytes);
  bool Append(std::string_view text) {
    return Append(std::as_bytes(std::span(text)));
  }

  // Makes room for `bytes` more at once: appending them will not fail. Returns
  // false, changing nothing, where Append() would.
  bool Reserve(size_t bytes);

  // Closes the connection once what was appended is sent. UDP: no effect.
  void CloseAfterSend() { close_ = true; }

  // UDP: the reply goes out as datagrams of `size` bytes, the last one may be
  // shorter; the handler puts a header at every multiple of `size`. 0, the
  // default: one datagram. TCP: no effect.
  void SplitDatagrams(size_t size) { datagram_bytes_ = size; }

  // Takes back what was appended since Begin() but for the first `keep` bytes.
  void Discard(size_t keep = 0);

  // What was appended since Begin().
  Bytes bytes() const { return Bytes(buffer_).subspan(start_); }
  bool close_after_send() const { return close_; }

  // Returns an empty reply to put a part together in: of up to `limit` bytes,
  // but no more than this one may have, and under the same bound on memory.
  Reply Scratch(size_t limit) const {
    return Reply(limit < limit_ ? limit : limit_, budget_);
  }

  // The rest is for the server.

  // Starts the next reply behind those that were not sent yet.
  void Begin() { start_ = buffer_.size(); }
  // Every reply since Clear().
  Bytes all_bytes() const { return buffer_; }
  size_t datagram_bytes() const { return datagram_bytes_; }
  size_t capacity() const { return buffer_.capacity(); }  // Bytes of memory.
  // Forgets everything; gives memory back if it grew beyond `keep_bytes`.
  void Clear(size_t keep_bytes = SIZE_MAX);

 private:
  bool Grow(size_t needed);
  void Free();

  std::vector<std::byte> buffer_;  // Reused: grows to the largest reply seen.
  size_t start_ = 0;               // Where the reply being written begins.
  size_t limit_;
  net::MemoryBudget* budget_;
  size_t counted_ = 0;  // Bytes of buffer_ that the budget knows of.
  size_t datagram_bytes_ = 0;
  bool close_ = false;
};

// Why the server answers a request without running it.
enum class Refusal : uint8_t {
  kOverloaded,  // The class's limit is reached, or that of memory for large
                // requests.
  kTooLarge,    // The frame exceeds max_request_bytes.
  kMalformed,   // The frame can't be parsed.
  kShutdown,    // The server is stopping. It closes the connection by itself,
                // after it has refused what else came.
};

// What a protocol finds at the start of the input.
struct Frame {
  enum class Status : uint8_t {
    kNeedMore,   // Not a whole request yet; nothing is consumed.
    kRequest,    // `size` bytes are one request.
    kMalformed,  // Skip `size` bytes and send the refusal; size 0: close.
  };
  Status status = Status::kNeedMore;
  // kNeedMore: how many bytes the frame has, 0 if that is not known yet. Next()
  // need not be called again before they are there; the server refuses
  // (kTooLarge) what cannot fit, and where it has no memory for them
  // (kOverloaded) it skips them. Otherwise: the bytes of `input` it takes.
  size_t size = 0;
  // Bytes after `size` that belong to the request and that nobody wants to see,
  // such as a value over the limit. The server throws them away as they come; a
  // request is handled, or refused, without waiting for them.
  size_t skip = 0;
  ClassId request_class = 0;
  Duration deadline = Duration::max();  // After arrival; max: none.
  // kNeedMore of unknown size: Next() need not be called again before this byte
  // is among those that come. So a long frame is not searched for its end from
  // its start each time.
  std::optional<std::byte> until = std::nullopt;
};

// Finds requests in bytes. Stateless: one object serves all connections, from
// any thread at once.
class Protocol {
 public:
  virtual ~Protocol() = default;

  // Looks at the start of `input`, which on UDP is one whole datagram. There a
  // reply of the protocol should be malformed and Refuse() silent about it, or
  // a forged sender's address sets two servers on each other. Called again with
  // the same start and more bytes after kNeedMore, so it should look at few
  // bytes more than once.
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
