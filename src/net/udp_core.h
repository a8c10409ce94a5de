// udp_core.h - what one core receives datagrams with and answers them by.
//
// Used by that core's kernel thread alone.

#pragma once

#include <array>

#include "io/udp_batch.h"
#include "net/udp_replies.h"
#include "net/udp_request.h"

namespace yamanote::net {

struct UdpCore {
  // `reply_delay`: see UdpReplies.
  UdpCore(UdpPool& pool, Duration reply_delay, Counters& counters)
      : stock(pool), replies(reply_delay, stock, counters) {}
  ~UdpCore() {
    for (; ready > 0; --ready) stock.Return(requests[ready - 1]);
  }
  UdpCore(const UdpCore&) = delete;
  UdpCore& operator=(const UdpCore&) = delete;

  // Requests that a core keeps beside those in the server.
  static constexpr size_t kKept = UdpStock::kMost + io::kUdpBatch;

  io::UdpReceiver receiver;
  UdpStock stock;
  UdpReplies replies;
  // Buffers of the next batch, the first `ready` of them filled in.
  std::array<UdpRequest*, io::kUdpBatch> requests{};
  std::array<io::Datagram*, io::kUdpBatch> slots{};
  unsigned ready = 0;
};

}  // namespace yamanote::net
