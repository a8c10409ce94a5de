// stream.h - one byte stream's state: from bytes to requests, replies to bytes.
//
// Pure: no sockets, no threads, no clock. Whoever owns the connection asks
// Advance() what to do, does it, and says how it went:
//
//   kRead     put bytes at ReadSpace(), then OnRead(); or OnNoInput(), OnEndOfInput()
//   kRequest  frame() is whole: run or refuse it, then Finish or Refuse
//   kSend     write Unsent(), then OnSent()
//   kClose    nothing is left to do
//
// What it refuses by itself (malformed, too large, no memory, stopping) it
// answers in the protocol's words and counts. Bounds: the input buffer holds at
// most max_request_bytes (4 KiB at least), the output at most kReplyBatchBytes
// plus one reply, because no request is taken while more than that waits to be
// sent. What they take beyond 64 KiB each comes out of StreamLimits::memory.

#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>

#include "net/counters.h"
#include "net/memory_budget.h"
#include "yamanote/service.h"

namespace yamanote::net {

struct StreamLimits {
  size_t max_request_bytes = 1 << 20;
  size_t max_reply_bytes = 8 << 20;
  MemoryBudget* memory = nullptr;  // Of all streams. nullptr: no bound.
  Duration idle_timeout = Duration::max();  // Since the last request or reply.
  // From a request's first byte to its last.
  Duration request_timeout = Duration::max();
  Duration send_timeout = Duration::max();  // Without the peer taking a byte.
};

class Stream {
 public:
  enum class Next : uint8_t { kRead, kRequest, kSend, kClose };

  // Replies are collected up to here before they must be sent.
  static constexpr size_t kReplyBatchBytes = 16 * 1024;

  // Both must outlive the stream.
  Stream(const Protocol& protocol, const StreamLimits& limits);
  ~Stream();

  // For a new peer.
  void Reset(Instant now);
  // The peer has gone, or is not answered any more: gives buffers back but for
  // 4 KiB each.
  void GiveMemoryBack();

  // Returns what must be done next. Idempotent until it is done.
  Next Advance(Counters& counters);

  // At least one byte of space. Valid until the next call of another function.
  std::span<std::byte> ReadSpace();
  void OnRead(size_t bytes, Instant now);
  void OnNoInput() { looked_ = true; }  // Nothing has come that was not read.
  void OnEndOfInput() { input_ended_ = true; }

  // The request that Advance() found. Valid until FinishRequest().
  const Frame& frame() const { return frame_; }
  Bytes frame_bytes() const {
    return Bytes(input_.get() + begin_, frame_.size);
  }
  Instant arrival() const { return last_read_; }
  Reply& reply() { return reply_; }
  // Before and after the service handles it.
  void BeginRequest() {
    reply_.Begin();
    running_ = true;
  }
  void FinishRequest(Counters& counters);
  // Instead of both: answers it with the protocol's refusal.
  void RefuseRequest(Refusal why, Counters& counters);

  // Instead of everything: tells the peer that it is not served, and closes.
  void RefusePeer();

  Bytes Unsent() const { return reply_.all_bytes().subspan(sent_); }
  void OnSent(size_t bytes);
  // The peer does not take bytes now; starts its timeout.
  void OnSendBlocked(Instant now);
  bool send_blocked() const { return send_blocked_; }

  // A reply was finished, or sent after it had to wait: idle time starts anew.
  void OnActivity(Instant now) { active_ = std::max(active_, now); }

  // From now on requests are refused: the server stops. The stream closes when
  // everything is answered that came before the peer could know, which takes a
  // look at the input after the last answer: must_look().
  void Drain() {
    if (!draining_) looked_ = false;
    draining_ = true;
  }
  bool must_look() const { return draining_ && !looked_; }

  // When the stream has waited too long in its present state; kNever if it waits
  // for nobody but the service. Closing it is the owner's business.
  Instant Deadline() const;

 private:
  size_t available() const { return end_ - begin_; }
  void Consume(size_t bytes);
  void Refuse(Bytes frame, Refusal why, Counters& counters);
  void StartSkip(size_t bytes);
  bool Skip();
  bool HasRoom() const {
    return end_ < capacity_ || begin_ > 0 || capacity_ == 0;
  }
  bool Grow();
  void FreeInput();
  void RefuseUnfinished(Counters& counters);
  bool MayBeWhole(Bytes input);
  // Returns true if the caller should look at the input again.
  bool ParseNext(Counters& counters);

  const Protocol& protocol_;
  const StreamLimits& limits_;

  std::unique_ptr<std::byte[]> input_;
  size_t capacity_ = 0;
  size_t begin_ = 0;
  size_t end_ = 0;
  size_t need_ = 0;  // The frame at begin_ has at least so many bytes.
  // It has not ended before this byte; `searched_` bytes from begin_ on are others.
  std::optional<std::byte> until_;
  size_t searched_ = 0;
  size_t skip_ = 0;  // Bytes to throw away before the next frame.

  Reply reply_;
  size_t sent_ = 0;

  Frame frame_;
  bool has_frame_ = false;  // Found, and not finished or refused.
  bool running_ = false;    // The service has it.
  bool input_ended_ = false;
  bool closing_ = false;
  bool draining_ = false;
  bool looked_ = false;  // No input since the last byte was read or sent.
  bool send_blocked_ = false;
  Instant last_read_{};
  Instant active_{};  // OnActivity().
  // When the first byte of an unfinished request came.
  Instant partial_since_{};
  bool partial_ = false;
  Instant send_blocked_since_{};
};

}  // namespace yamanote::net
