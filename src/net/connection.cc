// connection.cc - a connection's turns.

#include "net/connection.h"

#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/check.h"

namespace yamanote::net {

using dispatch::FlowAction;

Connection::Connection(ConnectionHost& host, const Protocol& protocol,
                       const StreamLimits& limits)
    : host_(host), stream_(protocol, limits) {
  // A closed connection is owned, by nobody who would do anything: signals are
  // marked and come to nothing.
  flow_.Arrive();
  flow_.Start();
}

Result<void> Connection::Open(std::unique_ptr<io::ByteStream> bytes,
                              CoreId home, uint64_t flow, Welcome welcome) {
  bytes_ = std::move(bytes);
  home_ = home;
  welcome_ = welcome;
  hash_ = flow;
  lingered_bytes_ = 0;
  linger_until_ = kNever;
  may_read_ = may_write_ = true;
  hangup_ = ended_ = broken_ = false;
  signals_.store(0, std::memory_order_relaxed);
  stream_.Reset(host_.Now());
  // Owned until the Turn() below ends, so an early event is only marked.
  if (auto watched = bytes_->Watch(*this); !watched) {
    bytes_.reset();
    return watched;
  }
  if (welcome == Welcome::kRefuse) {
    host_.counters().Add(Counter::kRefusedConnections);
    stream_.RefusePeer();
  } else {
    host_.counters().Add(Counter::kAccepted);
    if (host_.draining()) stream_.Drain();
  }
  Turn();
  return {};
}

void Connection::OnEvents(uint32_t events) {
  uint32_t signals = 0;
  if ((events & EPOLLIN) != 0) signals |= kReadable;
  if ((events & EPOLLOUT) != 0) signals |= kWritable;
  if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0)
    signals |= kReadable | kHangup;
  if ((events & (EPOLLHUP | EPOLLERR)) != 0) signals |= kWritable;
  Signal(signals);
}

void Connection::Signal(uint32_t signals) {
  signals_.fetch_or(signals, std::memory_order_release);
  if (flow_.Arrive() != FlowAction::kEnqueue) return;
  flow_.Start();
  Turn();
}

Instant Connection::request_deadline() const {
  const Duration after = frame().deadline;
  return after >= kNever - arrival() ? kNever : arrival() + after;
}

void Connection::Turn() {
  reads_ = 0;
  read_bytes_ = written_bytes_ = 0;
  for (;;) {
    Absorb(signals_.exchange(0, std::memory_order_acquire));
    Step step;
    do {
      step = TakeStep();
    } while (step == Step::kAgain);
    if (step == Step::kGone) return;
    PublishDeadline();
    if (flow_.Finish() == FlowAction::kNothing) return;
    flow_.Start();  // A signal came meanwhile, and nobody else answers it.
  }
}

void Connection::Absorb(uint32_t signals) {
  if (signals == 0) return;
  if ((signals & kHangup) != 0) hangup_ = true;
  if ((signals & kReadable) != 0) may_read_ = true;
  if ((signals & kWritable) != 0) may_write_ = true;
  if ((signals & kAbort) != 0) broken_ = true;
  if ((signals & kCheck) != 0) CheckTime();
}

void Connection::CheckTime() {
  if (host_.draining()) stream_.Drain();
  const bool lingering = linger_until_ != kNever;
  if (host_.Now() < (lingering ? linger_until_ : stream_.Deadline())) return;
  if (!lingering) host_.counters().Add(Counter::kTimedOut);
  broken_ = true;
}

void Connection::PublishDeadline() {
  const Instant deadline =
      linger_until_ != kNever ? linger_until_ : stream_.Deadline();
  // It changes with every request; a stale one costs an early look.
  deadline_ns_.store(ToNanos(deadline), std::memory_order_relaxed);
}

Connection::Step Connection::TakeStep() {
  if (broken_) return Close();
  if (linger_until_ != kNever) return Linger();
  switch (stream_.Advance(host_.counters())) {
    case Stream::Next::kRequest:
      return StartRequest();
    case Stream::Next::kSend:
      return may_write_ ? Flush() : Step::kWait;
    case Stream::Next::kRead:
      return may_read_ || stream_.must_look() ? Read() : Step::kWait;
    case Stream::Next::kClose:
      return BeginClose();
  }
  return Step::kWait;
}

Connection::Step Connection::StartRequest() {
  // Earlier replies do not wait for this request.
  if (!stream_.Unsent().empty()) return Flush();
  const ClassId request_class = stream_.frame().request_class;
  if (host_.Admit(request_class)) {
    deadline_ns_.store(ToNanos(kNever), std::memory_order_relaxed);
    if (host_.Spawn(*this)) return Step::kGone;
    host_.Release(request_class);
  }
  stream_.RefuseRequest(Refusal::kOverloaded, host_.counters());
  return Step::kAgain;
}

// Input that is all refused or thrown away could hold the core for ever, and a large
// request's takes long. Returns true if this turn is over: the next one was asked for.
bool Connection::GiveWay() {
  if (++reads_ <= kReadsPerTurn && read_bytes_ < kBytesPerTurn) return false;
  reads_ = 0;
  read_bytes_ = 0;
  return host_.SpawnContinue(*this);
}

Connection::Step Connection::Read() {
  if (GiveWay()) return Step::kGone;
  std::span<std::byte> space = stream_.ReadSpace();
  space = space.first(std::min(space.size(), kBytesPerTurn - read_bytes_));
  const io::Transfer read = bytes_->Read(space);
  switch (read.status) {
    case io::Transfer::Status::kDone:
      read_bytes_ += read.bytes;
      stream_.OnRead(read.bytes, host_.Now());
      host_.counters().Add(Counter::kBytesIn, read.bytes);
      if (read.bytes < space.size() && bytes_->ShortReadEmpties())
        may_read_ = hangup_;
      break;
    case io::Transfer::Status::kWouldBlock:
      may_read_ = false;
      stream_.OnNoInput();
      break;
    case io::Transfer::Status::kEnd:
      may_read_ = false;
      ended_ = true;
      stream_.OnEndOfInput();
      break;
    case io::Transfer::Status::kError:
      broken_ = true;
      break;
  }
  return Step::kAgain;
}

Connection::Step Connection::Flush() {
  if (written_bytes_ == kBytesPerTurn) {
    written_bytes_ = 0;
    if (host_.SpawnContinue(*this)) return Step::kGone;
  }
  const bool waited = stream_.send_blocked();
  const io::ByteStream::ConstBytes unsent = stream_.Unsent();
  const io::Transfer written = bytes_->Write(
      unsent.first(std::min(unsent.size(), kBytesPerTurn - written_bytes_)));
  switch (written.status) {
    case io::Transfer::Status::kDone:
      stream_.OnSent(written.bytes);
      written_bytes_ += written.bytes;
      host_.counters().Add(Counter::kBytesOut, written.bytes);
      if (waited) stream_.OnActivity(host_.Now());
      break;
    case io::Transfer::Status::kWouldBlock:
      may_write_ = false;
      stream_.OnSendBlocked(host_.Now());
      break;
    case io::Transfer::Status::kEnd:
    case io::Transfer::Status::kError:
      host_.counters().Add(Counter::kUnsent);
      broken_ = true;
      break;
  }
  return Step::kAgain;
}

void Connection::HandleOne() {
  Request request;
  request.bytes = stream_.frame_bytes();
  request.request_class = stream_.frame().request_class;
  request.arrival = stream_.arrival();
  request.deadline = request_deadline();
  request.flow = hash_;
  request.transport = Transport::kTcp;
  stream_.BeginRequest();
  host_.Handle(request, stream_.reply());
  host_.Release(request.request_class);
  Counters& counters = host_.counters();
  counters.Add(Counter::kRequests);
  stream_.FinishRequest(counters);
}

// Whether the request that Advance() found runs in this turn, after `done` others.
bool Connection::MayGoOn(ClassId first, int done, Duration elapsed) const {
  if (done == kRequestsPerTurn) return false;
  if (host_.NothingElseWaits()) return elapsed <= kTurnTime;
  return stream_.frame().request_class == first &&
         elapsed + elapsed / done <= host_.TurnTime();
}

void Connection::RunRequests() {
  const Instant start = host_.Now();
  const ClassId first = stream_.frame().request_class;
  for (int done = 1;; ++done) {
    HandleOne();
    if (host_.draining()) stream_.Drain();
    if (stream_.Advance(host_.counters()) != Stream::Next::kRequest) break;
    if (!MayGoOn(first, done, host_.Now() - start)) break;
    if (!host_.Admit(stream_.frame().request_class)) break;
  }
  stream_.OnActivity(host_.AboutNow());
  if (host_.SendHome(*this)) return;
  Turn();
}

// What the peer still sends would, unread, turn the close into a reset, which
// may overtake the last reply. So: end our side, read theirs away, then close.
Connection::Step Connection::BeginClose() {
  if (ended_) return Close();
  stream_.GiveMemoryBack();
  bytes_->ShutdownWrite();
  linger_until_ = host_.Now() + kLingerTime;
  may_read_ = true;
  return Step::kAgain;
}

Connection::Step Connection::Linger() {
  if (!may_read_) return Step::kWait;
  if (GiveWay()) return Step::kGone;
  std::array<std::byte, 4096> ignored;
  const io::Transfer read = bytes_->Read(ignored);
  if (read.status == io::Transfer::Status::kWouldBlock) {
    may_read_ = false;
    return Step::kWait;
  }
  lingered_bytes_ += read.bytes;
  if (read.status == io::Transfer::Status::kDone &&
      lingered_bytes_ < kLingerBytes) {
    return Step::kAgain;
  }
  return Close();
}

Connection::Step Connection::Close() {
  bytes_->Unwatch();
  bytes_.reset();
  stream_.GiveMemoryBack();
  linger_until_ = kNever;
  deadline_ns_.store(ToNanos(kNever), std::memory_order_relaxed);
  host_.counters().Add(Counter::kClosed);
  host_.Closed(*this);  // From here on it may be somebody else's.
  return Step::kGone;
}

}  // namespace yamanote::net
