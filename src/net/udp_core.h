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

  io::UdpReceiver receiver;
  UdpStock stock;
  UdpReplies replies;
  // Buffers of the next batch, the first `ready` of them filled in.
  std::array<UdpRequest*, io::kUdpBatch> requests{};
  std::array<io::Datagram*, io::kUdpBatch> slots{};
  unsigned ready = 0;
};

}  // namespace yamanote::net
