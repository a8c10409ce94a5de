// stream_fuzzer.cc - any bytes as a TCP stream and as datagrams: nothing
// crashes, each request is answered the same however the bytes arrive, and
// every answer is made of whole lines.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "apps/kv/test_server.h"

namespace {

void Require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", what);
  std::abort();
}

yamanote::kv::StoreOptions Small() {
  return {.memory_limit = size_t{1} << 20, .max_value_bytes = 4096};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using yamanote::Frame;
  const std::string_view stream(reinterpret_cast<const char*>(data), size);
  yamanote::kv::TestServer server(Small());
  const std::string answers = server.Send(stream);
  Require(answers.empty() || answers.ends_with("\r\n"),
          "answers end with an end of line");

  // The frame of a request does not depend on what follows it.
  const yamanote::net::memcached::MemcachedProtocol protocol(
      {.max_value_bytes = 4096});
  const auto bytes = std::as_bytes(std::span(stream));
  const Frame whole = protocol.Next(bytes, yamanote::Transport::kTcp);
  if (whole.status == Frame::Status::kRequest) {
    Require(whole.size > 0 && whole.size <= size,
            "a request lies within the input");
    const Frame exact =
        protocol.Next(bytes.first(whole.size), yamanote::Transport::kTcp);
    Require(exact.status == whole.status && exact.size == whole.size &&
                exact.skip == whole.skip &&
                exact.request_class == whole.request_class,
            "a request is the same without what follows");
    const Frame less =
        protocol.Next(bytes.first(whole.size - 1), yamanote::Transport::kTcp);
    Require(less.status != Frame::Status::kRequest,
            "less than a request is none");
    yamanote::Reply reply(1 << 20);
    protocol.Refuse(bytes.first(whole.size), yamanote::Transport::kTcp,
                    yamanote::Refusal::kOverloaded, reply);
    Require(!reply.bytes().empty() || size >= 4,
            "short lines can't ask for silence");
  }
  if (whole.status == Frame::Status::kNeedMore && whole.size > 0) {
    Require(whole.size > size, "what is missing is more than there is");
  }
  server.SendUdp(stream);
  protocol.Next(bytes, yamanote::Transport::kUdp);
  return 0;
}
