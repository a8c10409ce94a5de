// udp_replies.h - one core's UDP replies that wait to share a system call.
//
// A reply waits only while other requests wait for the core, at most for a
// quarter of what its request has taken so far, and only if the next request is
// expected to end before that: the mean service time of its class, kept here,
// decides. So the longer the queue the fuller the batches, and nobody waits
// behind a long one. (A datagram costs 3.4 us alone and 2.2 us among four; 2-vCPU
// AMD VM, 2026-11-25.)
//
// Used by one core's kernel thread; not thread-safe.

#pragma once

#include <array>
#include <cstdint>

#include "io/udp_batch.h"
#include "net/counters.h"
#include "net/udp_request.h"
#include "yamanote/time.h"

namespace yamanote::net {

class UdpReplies {
 public:
  // Sent requests go back to `stock`.
  UdpReplies(Duration bound, UdpStock& stock, Counters& counters)
      : bound_(bound), stock_(stock), counters_(counters) {}

  bool empty() const { return count_ == 0; }

  // Takes `request`, whose reply is not empty; it goes back to the stock
  // when sent. `now`: when the reply was finished.
  void Add(UdpRequest& request, Instant now);

  // Before a request of `request_class` runs: sends what could get too old.
  // Returns what AfterRequest() must know.
  uint64_t BeforeRequest(ClassId request_class, Instant now);
  // After it ran, for `sojourn` since it began; perhaps on another core.
  void AfterRequest(ClassId request_class, Duration sojourn, uint64_t began);

  // Sends what is due. Returns true if something was sent.
  bool FlushOld(Instant now) { return count_ > 0 && now >= due_ && Flush(); }
  bool Flush();

 private:
  static constexpr size_t kClasses = 16;  // Those beyond share the last place.

  void SendRun(UdpRequest* const* requests, unsigned count);

  const Duration bound_;
  UdpStock& stock_;
  Counters& counters_;
  io::UdpSender sender_;
  unsigned count_ = 0;
  uint64_t began_ = 0;  // Requests that began on this core.
  Instant due_{};       // When the first of them must go.
  std::array<UdpRequest*, io::kUdpBatch> requests_{};
  std::array<Duration, kClasses> mean_service_{};
};

}  // namespace yamanote::net
