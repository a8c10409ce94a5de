// stream.cc - framing, refusals and bounds of one byte stream.

#include "net/stream.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"

namespace yamanote::net {
namespace {

constexpr size_t kInitialBytes = 4 * 1024;
// A buffer that grew beyond this is given back when it is empty; when the peer
// has gone, one that grew at all.
constexpr size_t kKeepBytes = MemoryBudget::kFreeBytes;

Instant Later(Instant from, Duration by) {
  return by >= kNever - from ? kNever : from + by;
}

}  // namespace

Stream::Stream(const Protocol& protocol, const StreamLimits& limits)
    : protocol_(protocol),
      limits_(limits),
      reply_(limits.max_reply_bytes, limits.memory) {}

Stream::~Stream() { FreeInput(); }

void Stream::Reset(Instant now) {
  GiveMemoryBack();
  has_frame_ = running_ = input_ended_ = closing_ = draining_ = looked_ = false;
  send_blocked_ = partial_ = false;
  last_read_ = active_ = send_blocked_since_ = partial_since_ = now;
}

void Stream::GiveMemoryBack() {
  until_.reset();
  begin_ = end_ = need_ = skip_ = sent_ = 0;
  // Closed ones are kept for ever, as many as were ever open at a time.
  if (capacity_ > kInitialBytes) FreeInput();
  reply_.Clear(kInitialBytes);
}

void Stream::FreeInput() {
  input_.reset();
  if (limits_.memory != nullptr) limits_.memory->Give(capacity_);
  capacity_ = 0;
}

void Stream::Refuse(Bytes frame, Refusal why, Counters& counters) {
  counters.Add(CounterOf(why));
  reply_.Begin();
  protocol_.Refuse(frame, Transport::kTcp, why, reply_);
  if (reply_.close_after_send()) closing_ = true;
}

void Stream::Consume(size_t bytes) {
  begin_ += bytes;
  need_ = 0;
  until_.reset();
  partial_ = false;
  if (begin_ == end_) {
    begin_ = end_ = 0;
    if (capacity_ > kKeepBytes) FreeInput();
  }
}

void Stream::StartSkip(size_t bytes) {
  skip_ = bytes;
  partial_since_ = last_read_;
}

// Throws away what nobody wants to see. Returns true if more is to come.
bool Stream::Skip() {
  const size_t bytes = std::min(skip_, available());
  skip_ -= bytes;
  Consume(bytes);
  return skip_ > 0;
}

// Whether the protocol has to look at `input`. Each byte is searched once.
bool Stream::MayBeWhole(Bytes input) {
  if (input.size() < need_) return false;
  if (!until_ || input.size() >= limits_.max_request_bytes) return true;
  const Bytes fresh = input.subspan(std::exchange(searched_, input.size()));
  return std::ranges::find(fresh, *until_) != fresh.end();
}

bool Stream::ParseNext(Counters& counters) {
  const Bytes input(input_.get() + begin_, available());
  if (!MayBeWhole(input)) return false;
  const Frame frame = protocol_.Next(input, Transport::kTcp);
  switch (frame.status) {
    case Frame::Status::kRequest:
      YAMANOTE_CHECK(
          frame.size > 0 && frame.size <= input.size(),
          "Protocol::Next() returned a request that is not in its input");
      if (frame.size > limits_.max_request_bytes) {
        Refuse(input.first(frame.size), Refusal::kTooLarge, counters);
        StartSkip(frame.size + frame.skip);
      } else if (draining_) {
        Refuse(input.first(frame.size), Refusal::kShutdown, counters);
        StartSkip(frame.size + frame.skip);
      } else {
        frame_ = frame;
        has_frame_ = true;
      }
      return true;
    case Frame::Status::kMalformed:
      Refuse(frame.size == 0 ? input
                             : input.first(std::min(input.size(), frame.size)),
             Refusal::kMalformed, counters);
      if (frame.size == 0) closing_ = true;
      StartSkip(frame.size + frame.skip);
      return true;
    case Frame::Status::kNeedMore:
      if (std::max(input.size() + 1, frame.size) > limits_.max_request_bytes) {
        Refuse(input, Refusal::kTooLarge, counters);
        closing_ = true;  // Where the next request begins is unknown.
        return true;
      }
      if (!partial_) {
        partial_ = true;
        partial_since_ = last_read_;
      }
      need_ = frame.size;
      until_ = frame.until;
      searched_ = input.size();
      return false;
  }
  return false;
}

Stream::Next Stream::Advance(Counters& counters) {
  for (;;) {
    const size_t unsent = Unsent().size();
    if (send_blocked_) return Next::kSend;
    if (has_frame_) return Next::kRequest;
    if (closing_) return unsent > 0 ? Next::kSend : Next::kClose;
    if (unsent >= kReplyBatchBytes) return Next::kSend;
    const bool skipping = skip_ > 0 && Skip();
    if (!skipping && available() > 0 && ParseNext(counters)) continue;
    if (input_ended_) {
      if (available() > 0 || skipping) counters.Add(Counter::kTruncated);
      closing_ = true;
      continue;
    }
    if (unsent > 0) return Next::kSend;
    if (draining_ && looked_) {
      closing_ = true;
      continue;
    }
    if (HasRoom() || Grow()) return Next::kRead;
    RefuseUnfinished(counters);
  }
}

// Makes a larger input buffer, or returns false if there is no memory for it.
bool Stream::Grow() {
  const size_t limit = std::max(limits_.max_request_bytes, kInitialBytes);
  // A full buffer of that size holds a request, or ParseNext() refused it.
  YAMANOTE_CHECK(capacity_ < limit, "a full input buffer was not refused");
  size_t grown = std::min(limit, capacity_ * 2);
  // Not a byte more where the end is near and known.
  if (need_ > capacity_ && need_ <= grown * 2) grown = need_;
  if (limits_.memory != nullptr && !limits_.memory->TryTake(grown)) {
    // A smaller step may fit. Not less: each step copies everything so far.
    grown = std::min(grown, capacity_ + capacity_ / 4);
    if (!limits_.memory->TryTake(grown)) return false;
  }
  auto larger = std::make_unique_for_overwrite<std::byte[]>(grown);
  std::memcpy(larger.get(), input_.get(), end_);
  FreeInput();
  input_ = std::move(larger);
  capacity_ = grown;
  return true;
}

// There is no memory for the request at begin_, which has not come whole.
void Stream::RefuseUnfinished(Counters& counters) {
  const Bytes input(input_.get() + begin_, available());
  const Frame frame = protocol_.Next(input, Transport::kTcp);
  Refuse(input, Refusal::kOverloaded, counters);
  if (frame.status == Frame::Status::kNeedMore && frame.size > 0) {
    StartSkip(frame.size + frame.skip);
  } else {
    closing_ = true;  // Where the next request begins is unknown.
  }
}

std::span<std::byte> Stream::ReadSpace() {
  // Advance() saw to it that there is space, or that some can be made here.
  if (capacity_ == 0) {
    capacity_ = kInitialBytes;
    input_ = std::make_unique_for_overwrite<std::byte[]>(capacity_);
  } else if (end_ == capacity_ && begin_ > 0) {
    std::memmove(input_.get(), input_.get() + begin_, available());
    end_ -= begin_;
    begin_ = 0;
  }
  return {input_.get() + end_, capacity_ - end_};
}

void Stream::OnRead(size_t bytes, Instant now) {
  YAMANOTE_CHECK(bytes <= capacity_ - end_,
                 "more was read than there was space");
  end_ += bytes;
  looked_ = false;
  last_read_ = now;
}

void Stream::FinishRequest(Counters& counters) {
  if (!reply_.bytes().empty()) counters.Add(Counter::kReplies);
  has_frame_ = running_ = false;
  Consume(frame_.size);
  StartSkip(frame_.skip);
  if (reply_.close_after_send()) closing_ = true;
}

void Stream::RefuseRequest(Refusal why, Counters& counters) {
  has_frame_ = false;
  Refuse(frame_bytes(), why, counters);
  Consume(frame_.size);
  StartSkip(frame_.skip);
}

void Stream::RefusePeer() {
  protocol_.Refuse({}, Transport::kTcp, Refusal::kOverloaded, reply_);
  closing_ = true;
}

void Stream::OnSent(size_t bytes) {
  sent_ += bytes;
  YAMANOTE_CHECK(sent_ <= reply_.all_bytes().size(),
                 "more was sent than there was");
  send_blocked_ = looked_ = false;
  if (sent_ < reply_.all_bytes().size()) return;
  sent_ = 0;
  reply_.Clear(kKeepBytes);
}

void Stream::OnSendBlocked(Instant now) {
  if (!send_blocked_) send_blocked_since_ = now;
  send_blocked_ = true;
}

Instant Stream::Deadline() const {
  if (running_) return kNever;
  if (send_blocked_) return Later(send_blocked_since_, limits_.send_timeout);
  if (has_frame_) return kNever;
  if (partial_ || skip_ > 0)
    return Later(partial_since_, limits_.request_timeout);
  return Later(std::max(last_read_, active_), limits_.idle_timeout);
}

}  // namespace yamanote::net
