// resp_fuzz.cc - any bytes as a RESP stream and as a datagram: a frame does not
// depend on what follows it, its words lie within it, refusals are one line.

#include <algorithm>
#include <cstdlib>

#include "net/memcached.h"
#include "net/resp.h"

namespace {

using namespace yamanote;
using namespace yamanote::net;

void Require(bool holds) {
  if (!holds) std::abort();
}

void CheckWords(std::string_view frame, size_t skip) {
  resp::Words words(frame);
  size_t count = 0;
  while (const auto word = words.Next()) {
    Require(word->data() >= frame.data() &&
            word->data() + word->size() <= frame.data() + frame.size());
    ++count;
  }
  Require(count <= resp::kMaxInlineBytes && words.left() == 0);
  Require((words.withheld() > 0) == (skip > 0));
  if (skip > 0) Require(words.withheld() + 2 == skip);
}

void CheckStream(const resp::RespProtocol& protocol, Bytes input) {
  const Frame whole = protocol.Next(input, Transport::kTcp);
  if (whole.status == Frame::Status::kRequest) {
    Require(whole.size > 0 && whole.size <= input.size());
    const Frame exact = protocol.Next(input.first(whole.size), Transport::kTcp);
    Require(exact.status == whole.status && exact.size == whole.size &&
            exact.skip == whole.skip &&
            exact.request_class == whole.request_class);
    // Less than a request is none, and what is said of its size is true.
    for (const size_t less : {whole.size - 1, whole.size / 2, size_t{0}}) {
      const Frame part = protocol.Next(input.first(less), Transport::kTcp);
      Require(part.status == Frame::Status::kNeedMore);
      Require(part.size == 0 || part.size == whole.size);
    }
    CheckWords(memcached::AsText(input.first(whole.size)), whole.skip);
  }
  if (whole.status == Frame::Status::kNeedMore && whole.size > 0)
    Require(whole.size > input.size());
}

void CheckRefusals(const resp::RespProtocol& protocol, Bytes input) {
  for (const Transport transport : {Transport::kTcp, Transport::kUdp}) {
    for (const Refusal why : {Refusal::kOverloaded, Refusal::kTooLarge,
                              Refusal::kMalformed, Refusal::kShutdown}) {
      Reply reply(4096);
      protocol.Refuse(input, transport, why, reply);
      std::string_view text = memcached::AsText(reply.bytes());
      if (transport == Transport::kUdp) {
        if (text.empty()) continue;
        Require(protocol.Next(reply.bytes(), transport).status ==
                Frame::Status::kMalformed);
        text.remove_prefix(memcached::kUdpHeaderBytes);
      }
      // An empty line or array has no answer, and no refusal.
      if (text.empty() && !input.empty() &&
          (why == Refusal::kOverloaded || why == Refusal::kShutdown)) {
        continue;
      }
      Require(text.starts_with("-ERR ") && text.find('\n') == text.size() - 1);
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const resp::RespProtocol protocol(
      {.max_value_bytes = 100, .long_get_keys = 2});
  const Bytes input(reinterpret_cast<const std::byte*>(data), size);
  CheckStream(protocol, input);
  CheckRefusals(protocol, input);
  const Frame datagram = protocol.Next(input, Transport::kUdp);
  Require(datagram.status != Frame::Status::kNeedMore && datagram.size == size);
  if (datagram.status == Frame::Status::kRequest) {
    CheckWords(memcached::AsText(input.subspan(memcached::kUdpHeaderBytes)), 0);
  }
  return 0;
}
