// udp_endpoint.h - one UDP socket: datagrams in, requests to the dispatcher.
//
// Where every core shares the queue there is one socket for an address; where
// each core has its own, each has a socket and the kernel spreads the peers.

#pragma once

#include <atomic>
#include <cstdint>

#include "io/poller.h"
#include "net/udp_request.h"

namespace yamanote::net {

class Host;

class UdpEndpoint final : public io::EventHandler {
 public:
  // Takes `fd`; `home` is kNoCore if the socket is shared by all cores.
  UdpEndpoint(Host& host, int fd, CoreId home);
  ~UdpEndpoint() override;

  // Receives from now on; until Unwatch().
  Result<void> Watch();
  void Unwatch();
  // Refuses what the kernel still holds. Requires: the server drains,
  // Unwatch().
  void RefuseQueued();

  void OnEvents(uint32_t events) override;
  bool Try() override;

  // What the kernel had no room for; wraps.
  uint32_t kernel_drops() const { return io::KernelDrops(fd_); }

 private:
  // Batches in one call, so that one socket does not hold the core.
  static constexpr int kBatchesPerCall = 4;
  // More than fit into the largest buffer that the kernel grants by default.
  static constexpr int kBatchesAtEnd = 4096;

  static void RunEntry(void* request);
  unsigned ReceiveBatch();
  void Accept(UdpRequest& request);
  void Refuse(UdpRequest& request, Refusal why);
  void Run(UdpRequest& request);
  void Answer(UdpRequest& request, Instant now);

  Host& host_;
  const int fd_;
  const CoreId home_;
  io::Poller* poller_ = nullptr;
};

}  // namespace yamanote::net
