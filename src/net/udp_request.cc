// udp_request.cc - the pool of datagrams.

#include "net/udp_request.h"

namespace yamanote::net {

void UdpPool::AddSlab() {
  Slab slab;
  slab.buffers =
      std::make_unique_for_overwrite<std::byte[]>(kSlab * datagram_bytes_);
  slab.requests.reserve(kSlab);
  for (size_t i = 0; i < kSlab; ++i) {
    auto request = std::make_unique<UdpRequest>(reply_bytes_, memory_);
    request->datagram.data = slab.buffers.get() + i * datagram_bytes_;
    request->datagram.capacity = datagram_bytes_;
    request->next_free = free_;
    free_ = request.get();
    slab.requests.push_back(std::move(request));
  }
  slabs_.push_back(std::move(slab));
  made_ += kSlab;
}

Result<void> UdpPool::Take(size_t count, UdpRequest*& head, size_t& taken) {
  const std::lock_guard guard(lock_);
  taken = 0;
  while (taken < count) {
    if (free_ == nullptr && made_ < max_requests_) AddSlab();
    if (free_ == nullptr) break;
    UdpRequest* const request = free_;
    free_ = request->next_free;
    request->next_free = head;
    head = request;
    ++taken;
  }
  if (taken > 0) return {};
  return MakeError(ErrorCode::kResourceExhausted,
                   "UDP requests in the server: " + std::to_string(made_) +
                       ", max_datagrams is " + std::to_string(max_requests_));
}

void UdpPool::Return(UdpRequest* head, size_t) {
  const std::lock_guard guard(lock_);
  while (head != nullptr) {
    UdpRequest* const next = head->next_free;
    head->next_free = free_;
    free_ = head;
    head = next;
  }
}

}  // namespace yamanote::net
