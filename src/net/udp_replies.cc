// udp_replies.cc - when a UDP reply goes out, and with which others.

#include "net/udp_replies.h"

#include <algorithm>

namespace yamanote::net {

void UdpReplies::Add(UdpRequest& request, Instant now) {
  const Instant due = now + std::min(bound_, (now - request.arrival) / 4);
  if (count_ == 0 || due < due_) due_ = due;
  requests_[count_++] = &request;
  if (count_ == requests_.size()) Flush();
}

uint64_t UdpReplies::BeforeRequest(ClassId request_class, Instant now) {
  if (count_ != 0) {
    const size_t place = std::min<size_t>(request_class, kClasses - 1);
    if (now + mean_service_[place] > due_) Flush();
  }
  return ++began_;
}

void UdpReplies::AfterRequest(ClassId request_class, Duration sojourn,
                              uint64_t began) {
  // If others began meanwhile, it gave way, and what it took is mostly theirs; a
  // reply waits bound_ at most. (If it moved here, the comparison is a guess.)
  if (began != began_) sojourn = std::min(sojourn, bound_);
  Duration& mean = mean_service_[std::min<size_t>(request_class, kClasses - 1)];
  mean += (sojourn - mean) / 8;  // Follows a change within some ten requests.
}

bool UdpReplies::Flush() {
  if (count_ == 0) return false;
  // One call per socket; there are several only with several addresses.
  const unsigned count = count_;
  count_ = 0;
  for (unsigned first = 0; first < count;) {
    unsigned end = first + 1;
    while (end < count && requests_[end]->fd == requests_[first]->fd) ++end;
    SendRun(&requests_[first], end - first);
    first = end;
  }
  return true;
}

void UdpReplies::SendRun(UdpRequest* const* requests, unsigned count) {
  std::array<io::OutDatagram, io::kUdpBatch> out;
  size_t bytes = 0;
  for (unsigned i = 0; i < count; ++i) {
    const UdpRequest& request = *requests[i];
    out[i] = {.bytes = request.reply.bytes(),
              .datagram_bytes = request.reply.datagram_bytes(),
              .peer = &request.datagram.peer,
              .peer_size = request.datagram.peer_size};
    bytes += out[i].bytes.size();
  }
  io::GroupByPeer(std::span(out).first(count));
  const auto sent = sender_.Send(requests[0]->fd, std::span(out).first(count));
  counters_.Add(Counter::kSendBatches, sent.calls);
  counters_.Add(Counter::kBytesOut, bytes);
  if (sent.failed > 0) counters_.Add(Counter::kUnsent, sent.failed);
  for (unsigned i = 0; i < count; ++i) Recycle(*requests[i], stock_);
}

}  // namespace yamanote::net
