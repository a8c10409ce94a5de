// spin.h - the spin protocol: a request says how long to burn a core.
//
// One message is 32 bytes, little-endian:
//
//   offset  0  u64  client stamp, echoed and never interpreted
//           8  u64  service time in nanoseconds
//          16  u32  flow
//          20  u32  sequence
//          24  u32  class
//          28  u32  reserved, zero
//
// The reply is the same 32 bytes. A request that was refused is answered at
// once with its own bytes but for `reserved`, which is 1 + the Refusal. A
// message of another size, with a reserved field that is not zero or with a
// service time above the limit is malformed: dropped on UDP, the end of a TCP
// connection; the server counts both.
//
// Over UDP a forged sender's address can set two spin servers on each other,
// because a reply is a valid request and the message has no room to tell them
// apart. The server gives no answer to ports below 1024 and to its own
// (udp_endpoint.cc); two servers at different higher ports remain. So: the same
// port for all, or a network on which senders cannot be forged.

#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "yamanote/service.h"

namespace yamanote::net {

inline constexpr size_t kSpinMessageBytes = 32;

struct SpinMessage {
  uint64_t stamp = 0;
  uint64_t service_ns = 0;
  uint32_t flow = 0;
  uint32_t sequence = 0;
  uint32_t request_class = 0;
  uint32_t reserved = 0;
};

// Any thread. Decode: std::nullopt unless `bytes` are exactly one message long.
std::array<std::byte, kSpinMessageBytes> EncodeSpin(const SpinMessage& message);
std::optional<SpinMessage> DecodeSpin(Bytes bytes);

struct SpinOptions {
  // A request that asks for more is malformed. > 0.
  Duration max_service = std::chrono::seconds(1);
  // A message whose class is beyond the end belongs to class 0. Never empty.
  std::vector<ClassOptions> classes = {ClassOptions{}};
};

class SpinProtocol final : public Protocol {
 public:
  explicit SpinProtocol(SpinOptions options = {});

  Frame Next(Bytes input, Transport transport) const override;
  void Refuse(Bytes frame, Transport transport, Refusal why,
              Reply& reply) const override;
  std::vector<ClassOptions> Classes() const override {
    return options_.classes;
  }

 private:
  const SpinOptions options_;
};

}  // namespace yamanote::net
