// udp_endpoint.cc - a datagram's way from the socket to the service and back.

#include "net/udp_endpoint.h"

#include <netinet/in.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "io/address.h"
#include "net/host.h"

namespace yamanote::net {
namespace {

// Spreads peers; two peers with one hash are only placed alike.
uint64_t HashOf(const io::Datagram& datagram) {
  uint64_t hash = 0;
  if (datagram.peer.ss_family == AF_INET) {
    sockaddr_in peer;
    std::memcpy(&peer, &datagram.peer, sizeof(peer));
    hash = (static_cast<uint64_t>(peer.sin_addr.s_addr) << 16) | peer.sin_port;
  } else if (datagram.peer.ss_family == AF_INET6) {
    sockaddr_in6 peer;
    std::memcpy(&peer, &datagram.peer, sizeof(peer));
    uint64_t words[2];
    std::memcpy(words, &peer.sin6_addr, sizeof(words));
    hash = (words[0] * 0x9E3779B97F4A7C15u) ^ words[1] ^
           (static_cast<uint64_t>(peer.sin6_port) << 48);
  }
  hash *= 0xD6E8FEB86659FD93u;
  hash ^= hash >> 32;
  return hash == 0 ? 1 : hash;  // 0 means "no flow".
}

}  // namespace

UdpEndpoint::UdpEndpoint(Host& host, int fd, CoreId home)
    : host_(host), fd_(fd), home_(home) {}

UdpEndpoint::~UdpEndpoint() {
  YAMANOTE_CHECK(poller_ == nullptr,
                 "a UDP endpoint was destroyed before Unwatch()");
  close(fd_);
}

Result<void> UdpEndpoint::Watch() {
  io::Poller& poller = host_.poller(home_ == kNoCore ? 0 : home_);
  // Level-triggered: what a call leaves in the socket is reported again.
  if (auto added = poller.Add(fd_, EPOLLIN, *this, io::Watching::kTried);
      !added) {
    return added;
  }
  poller_ = &poller;
  return {};
}

void UdpEndpoint::Unwatch() {
  if (poller_ != nullptr) poller_->Remove(fd_, *this);
  poller_ = nullptr;
}

void UdpEndpoint::RefuseQueued() {
  for (int batch = 0; batch < kBatchesAtEnd && ReceiveBatch() > 0; ++batch) {
  }
}

void UdpEndpoint::OnEvents(uint32_t) { Try(); }

bool UdpEndpoint::Try() {
  bool received = false;
  for (int batch = 0; batch < kBatchesPerCall; ++batch) {
    const unsigned count = ReceiveBatch();
    received |= count > 0;
    if (count < io::kUdpBatch) break;
  }
  return received;
}

unsigned UdpEndpoint::ReceiveBatch() {
  UdpCore& core = host_.udp();
  while (core.ready < io::kUdpBatch) {
    UdpRequest* const request = core.stock.Take();
    // max_datagrams are inside: the rest waits in the kernel, or is dropped there.
    if (request == nullptr) break;
    core.requests[core.ready] = request;
    core.slots[core.ready] = &request->datagram;
    ++core.ready;
  }
  if (core.ready == 0) return 0;
  const Instant now = host_.Now();
  const unsigned count =
      core.receiver.Receive(fd_, std::span(core.slots).first(core.ready), now);
  if (count == 0) return 0;
  host_.counters().Add(Counter::kReceiveBatches);
  size_t bytes = 0;
  for (unsigned i = 0; i < count; ++i) {
    UdpRequest& request = *core.requests[i];
    request.endpoint = this;
    request.fd = fd_;
    request.arrival = now;
    bytes += request.datagram.size;
    Accept(request);
  }
  host_.counters().Add(Counter::kBytesIn, bytes);
  // Unused ones from the end take the places of those that were used.
  const unsigned used = core.ready;
  core.ready -= count;
  for (unsigned i = 0; i < std::min(count, core.ready); ++i) {
    core.requests[i] = core.requests[used - 1 - i];
    core.slots[i] = core.slots[used - 1 - i];
  }
  return count;
}

void UdpEndpoint::Accept(UdpRequest& request) {
  const io::Datagram& datagram = request.datagram;
  const Bytes bytes(datagram.data, datagram.size);
  request.size = datagram.size;
  // A sender's address is easily forged. A reply to a server could be a request
  // there, and its reply one here, without end; so servers get none.
  if (host_.IsServicePort(io::PortOf(datagram.peer))) {
    host_.counters().Add(Counter::kDropped);
    return Recycle(request, host_.udp().stock);
  }
  if (datagram.truncated) return Refuse(request, Refusal::kTooLarge);
  const Frame frame = host_.protocol().Next(bytes, Transport::kUdp);
  if (frame.status != Frame::Status::kRequest)
    return Refuse(request, Refusal::kMalformed);
  YAMANOTE_CHECK(
      frame.size <= bytes.size(),
      "Protocol::Next() returned a request that is not in its input");
  request.size = frame.size;
  if (host_.draining()) return Refuse(request, Refusal::kShutdown);
  if (!host_.Admit(frame.request_class))
    return Refuse(request, Refusal::kOverloaded);
  request.request_class = frame.request_class;
  request.deadline = frame.deadline >= kNever - request.arrival
                         ? kNever
                         : request.arrival + frame.deadline;
  request.flow = HashOf(datagram);
  const worker::SpawnOptions options{
      .name = "udp request",
      .request_class = request.request_class,
      .flow = home_ == kNoCore ? request.flow : host_.FlowOf(home_),
      .arrival = request.arrival,
      .deadline = request.deadline};
  if (host_.SpawnCounted(options, &RunEntry, &request)) return;
  host_.Release(request.request_class);
  Refuse(request, Refusal::kOverloaded);
}

void UdpEndpoint::Refuse(UdpRequest& request, Refusal why) {
  host_.counters().Add(CounterOf(why));
  host_.protocol().Refuse({request.datagram.data, request.size},
                          Transport::kUdp, why, request.reply);
  if (request.reply.bytes().empty()) host_.counters().Add(Counter::kDropped);
  Answer(request, request.arrival);
}

// An empty reply sends nothing.
void UdpEndpoint::Answer(UdpRequest& request, Instant now) {
  if (request.reply.bytes().empty()) {
    Recycle(request, host_.udp().stock);
  } else {
    host_.udp().replies.Add(request, now);
  }
}

void UdpEndpoint::RunEntry(void* argument) {
  UdpRequest& request = *static_cast<UdpRequest*>(argument);
  Host& host = request.endpoint->host_;
  request.endpoint->Run(request);
  host.Finished();
}

void UdpEndpoint::Run(UdpRequest& request) {
  const Instant start = host_.Now();
  const ClassId request_class = request.request_class;
  const uint64_t began =
      host_.udp().replies.BeforeRequest(request_class, start);
  host_.Handle({.bytes = {request.datagram.data, request.size},
                .request_class = request_class,
                .arrival = request.arrival,
                .deadline = request.deadline,
                .flow = request.flow,
                .transport = Transport::kUdp},
               request.reply);
  // From here to the end there is no scheduling point: one core throughout.
  host_.Release(request_class);
  Counters& counters = host_.counters();
  counters.Add(Counter::kRequests);
  if (!request.reply.bytes().empty()) counters.Add(Counter::kReplies);
  UdpReplies& replies = host_.udp().replies;
  const Instant end = host_.Now();
  replies.AfterRequest(request_class, end - start, began);
  Answer(request, end);
  if (!replies.empty() && host_.NothingElseWaits()) replies.Flush();
}

}  // namespace yamanote::net
