// stream_fuzz.cc - the connection state machine under any input, cut anywhere.
//
// The first bytes of the data say how the owner behaves (sizes of reads and
// writes, refusals, when the input ends), the rest is what the peer sends. What
// must hold whatever comes: bounds of the buffers, progress, and that what the
// service is given is exactly what the protocol found.

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "net/line_protocol.h"
#include "net/stream.h"

namespace {

using namespace yamanote;
using namespace yamanote::net;

constexpr size_t kMaxRequest = 256;
constexpr size_t kMaxReply = 512;

class Run {
 public:
  Run(Bytes script, Bytes input) : script_(script), input_(input) {
    stream_.Reset(now_);
  }

  // Each step consumes input, sends bytes or ends a request, so the number of
  // steps is bounded by the input; beyond, it goes in circles.
  void ToTheEnd() {
    const size_t most_steps = 64 * (input_.size() + 16);
    for (size_t step = 0; step < most_steps; ++step) {
      now_ += std::chrono::milliseconds(1);
      if (stream_.Unsent().size() > Stream::kReplyBatchBytes + kMaxReply)
        abort();
      switch (stream_.Advance(counters_)) {
        case Stream::Next::kRead:
          Read();
          break;
        case Stream::Next::kRequest:
          Request();
          break;
        case Stream::Next::kSend:
          Send();
          break;
        case Stream::Next::kClose:
          return;
      }
    }
    abort();
  }

 private:
  uint8_t Choice() {
    if (script_.empty()) return 0xFF;
    const auto choice = std::to_integer<uint8_t>(script_[at_]);
    at_ = (at_ + 1) % script_.size();
    return choice;
  }

  void Read() {
    if (input_.empty()) {
      stream_.OnEndOfInput();
      return;
    }
    const auto space = stream_.ReadSpace();
    if (space.empty()) abort();
    const size_t n =
        std::min({space.size(), input_.size(), size_t{1} + Choice()});
    std::memcpy(space.data(), input_.data(), n);
    stream_.OnRead(n, now_);
    input_ = input_.subspan(n);
  }

  void Request() {
    const Bytes frame = stream_.frame_bytes();
    if (frame.empty() || frame.size() > kMaxRequest) abort();
    if (protocol_.Next(frame, Transport::kTcp).size != frame.size()) abort();
    const uint8_t choice = Choice();
    if (choice % 8 == 0) {
      stream_.RefuseRequest(Refusal::kOverloaded, counters_);
      return;
    }
    stream_.BeginRequest();
    if (stream_.Deadline() != kNever) abort();
    stream_.reply().Append(frame);
    if (choice % 8 == 1) stream_.Drain();
    if (choice % 64 == 2) stream_.reply().CloseAfterSend();
    stream_.FinishRequest(counters_);
  }

  void Send() {
    const uint8_t choice = Choice();
    if (choice % 4 == 0) stream_.OnSendBlocked(now_);
    const size_t unsent = stream_.Unsent().size();
    if (unsent == 0) abort();
    stream_.OnSent(std::min(unsent, size_t{1} + choice));
  }

  Bytes script_;
  size_t at_ = 0;
  Bytes input_;
  Instant now_ = FromNanos(1);
  LineProtocol protocol_;
  const StreamLimits limits_{.max_request_bytes = kMaxRequest,
                             .max_reply_bytes = kMaxReply,
                             .idle_timeout = std::chrono::seconds(60),
                             .request_timeout = std::chrono::seconds(10),
                             .send_timeout = std::chrono::seconds(30)};
  Counters counters_;
  Stream stream_{protocol_, limits_};
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr size_t kScript = 8;
  const Bytes bytes(reinterpret_cast<const std::byte*>(data), size);
  const size_t script = std::min(size, kScript);
  Run(bytes.first(script), bytes.subspan(script)).ToTheEnd();
  return 0;
}
