// spin.cc - framing of the spin protocol.

#include "net/spin.h"

#include <bit>
#include <concepts>
#include <cstring>

#include "base/check.h"

namespace yamanote::net {
namespace {

// Copied, not shifted together from bytes: of that GCC 12 makes vectors by way of
// memory, and a message took 0.1 us.
static_assert(std::endian::native == std::endian::little);

template <std::unsigned_integral T>
T LoadLittle(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof(value));
  return value;
}

template <std::unsigned_integral T>
void StoreLittle(T value, std::byte* to) {
  std::memcpy(to, &value, sizeof(value));
}

}  // namespace

std::array<std::byte, kSpinMessageBytes> EncodeSpin(
    const SpinMessage& message) {
  std::array<std::byte, kSpinMessageBytes> bytes;
  StoreLittle(message.stamp, &bytes[0]);
  StoreLittle(message.service_ns, &bytes[8]);
  StoreLittle(message.flow, &bytes[16]);
  StoreLittle(message.sequence, &bytes[20]);
  StoreLittle(message.request_class, &bytes[24]);
  StoreLittle(message.reserved, &bytes[28]);
  return bytes;
}

std::optional<SpinMessage> DecodeSpin(Bytes bytes) {
  if (bytes.size() != kSpinMessageBytes) return std::nullopt;
  return SpinMessage{.stamp = LoadLittle<uint64_t>(&bytes[0]),
                     .service_ns = LoadLittle<uint64_t>(&bytes[8]),
                     .flow = LoadLittle<uint32_t>(&bytes[16]),
                     .sequence = LoadLittle<uint32_t>(&bytes[20]),
                     .request_class = LoadLittle<uint32_t>(&bytes[24]),
                     .reserved = LoadLittle<uint32_t>(&bytes[28])};
}

SpinProtocol::SpinProtocol(SpinOptions options) : options_(std::move(options)) {
  YAMANOTE_CHECK(!options_.classes.empty(),
                 "SpinOptions::classes must not be empty");
  YAMANOTE_CHECK(options_.max_service > Duration::zero(),
                 "SpinOptions::max_service must be > 0");
}

Frame SpinProtocol::Next(Bytes input, Transport transport) const {
  Frame frame;
  if (transport == Transport::kTcp && input.size() < kSpinMessageBytes)
    return frame;
  frame.status = Frame::Status::kMalformed;
  if (transport == Transport::kUdp && input.size() != kSpinMessageBytes)
    return frame;
  const auto message = DecodeSpin(input.first(kSpinMessageBytes));
  if (message->reserved != 0) return frame;
  if (message->service_ns >
      static_cast<uint64_t>(ToNanos(options_.max_service)))
    return frame;
  frame.status = Frame::Status::kRequest;
  frame.size = kSpinMessageBytes;
  if (message->request_class < options_.classes.size()) {
    frame.request_class = static_cast<ClassId>(message->request_class);
  }
  return frame;
}

void SpinProtocol::Refuse(Bytes frame, Transport, Refusal why,
                          Reply& reply) const {
  if (why == Refusal::kMalformed || why == Refusal::kTooLarge) {
    reply.CloseAfterSend();
    return;
  }
  auto message = frame.size() >= kSpinMessageBytes
                     ? DecodeSpin(frame.first(kSpinMessageBytes))
                     : std::nullopt;
  if (!message) return;
  message->reserved = 1 + static_cast<uint32_t>(why);
  reply.Append(EncodeSpin(*message));
}

}  // namespace yamanote::net
