// udp_request.h - one datagram from its arrival to its reply, and their pool.

#pragma once

#include <cstddef>

#include "io/udp_batch.h"
#include "net/memory_budget.h"
#include "worker/free_list.h"
#include "worker/slab_pool.h"
#include "yamanote/service.h"

namespace yamanote::net {

class UdpEndpoint;

// Owned by the core that received it, then by the request's user thread, then by
// the UdpReplies of the core that ran it, then by the pool.
struct UdpRequest {
  UdpRequest(size_t reply_limit, MemoryBudget& memory)
      : reply(reply_limit, &memory) {}

  io::Datagram datagram;
  UdpEndpoint* endpoint = nullptr;
  int fd = -1;      // The endpoint's socket: the reply leaves by it.
  size_t size = 0;  // Of the request within the datagram.
  ClassId request_class = 0;
  Instant arrival{};
  Instant deadline = kNever;
  uint64_t flow = 0;
  Reply reply;
  UdpRequest* next_free = nullptr;
};

// All requests of a server, each with its buffer behind it. Any thread.
class UdpPool {
 public:
  UdpPool(size_t max_requests, size_t datagram_bytes, size_t reply_bytes,
          MemoryBudget& memory)
      : datagram_bytes_(datagram_bytes),
        reply_bytes_(reply_bytes),
        memory_(memory),
        requests_(max_requests, datagram_bytes) {}

  // Before the first datagram.
  void Prepare() { requests_.Prepare(); }
  // As worker::FreeList wants it: puts up to `count` in front of `head`.
  Result<void> Take(size_t count, UdpRequest*& head, size_t& taken);
  void Return(UdpRequest* head, size_t /*count*/) { requests_.Return(head); }

 private:
  const size_t datagram_bytes_;
  const size_t reply_bytes_;
  MemoryBudget& memory_;  // Of large replies.
  worker::SlabPool<UdpRequest, &UdpRequest::next_free> requests_;
};

using UdpStock = worker::FreeList<UdpRequest, &UdpRequest::next_free, UdpPool>;

// Reply memory that a request keeps for the next one: that of three datagrams'
// worth, so that short replies allocate nothing, while all the requests that there
// ever were keep little.
inline constexpr size_t kKeptReplyBytes = 4 * 1024;

// Gives back `request`, whose reply is no longer needed.
inline void Recycle(UdpRequest& request, UdpStock& stock) {
  request.reply.Clear(kKeptReplyBytes);
  stock.Return(&request);
}

}  // namespace yamanote::net
