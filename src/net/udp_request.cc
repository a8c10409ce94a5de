// udp_request.cc - the pool of datagrams.

#include "net/udp_request.h"

#include <new>

namespace yamanote::net {

Result<void> UdpPool::Take(size_t count, UdpRequest*& head, size_t& taken) {
  taken =
      requests_.Take(count, head, [this](std::byte* place, std::byte* tail) {
        auto* const request = new (place) UdpRequest(reply_bytes_, memory_);
        request->datagram.data = tail;
        request->datagram.capacity = datagram_bytes_;
        return request;
      });
  if (taken > 0) return {};
  return MakeError(ErrorCode::kResourceExhausted, "no UDP request is free");
}

}  // namespace yamanote::net
