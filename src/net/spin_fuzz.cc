// spin_fuzz.cc - any bytes through the spin protocol, as stream and datagram.

#include <cstdlib>

#include "net/spin.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace yamanote;
  using namespace yamanote::net;
  const SpinProtocol protocol(
      {.max_service = std::chrono::milliseconds(1),
       .classes = {{.name = "short"}, {.name = "long"}}});
  const Bytes input(reinterpret_cast<const std::byte*>(data), size);
  for (const Transport transport : {Transport::kTcp, Transport::kUdp}) {
    const Frame frame = protocol.Next(input, transport);
    if (frame.status == Frame::Status::kRequest) {
      if (frame.size != kSpinMessageBytes || frame.size > size ||
          frame.request_class > 1)
        abort();
      const auto message = DecodeSpin(input.first(frame.size));
      if (!message || message->reserved != 0 || message->service_ns > 1'000'000)
        abort();
      const auto again = EncodeSpin(*message);
      if (!std::equal(again.begin(), again.end(), input.begin())) abort();
    }
    for (const Refusal why : {Refusal::kOverloaded, Refusal::kTooLarge,
                              Refusal::kMalformed, Refusal::kShutdown}) {
      Reply reply(kSpinMessageBytes);
      protocol.Refuse(input, transport, why, reply);
      if (!reply.bytes().empty() && reply.bytes().size() != kSpinMessageBytes)
        abort();
    }
  }
  return 0;
}
