// stream_fuzzer.cc - any bytes as a TCP stream and as a datagram: nothing
// crashes, and every answer is made of whole RESP2 values.

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "apps/rocksdb/test_server.h"

namespace {

void Require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", what);
  std::abort();
}

// Takes one value off `text`; false if it is none.
bool TakeValue(std::string_view& text) {
  const size_t end = text.find("\r\n");
  if (end == std::string_view::npos || end == 0) return false;
  const char kind = text[0];
  const std::string_view line = text.substr(1, end - 1);
  text.remove_prefix(end + 2);
  if (kind == '+' || kind == '-') return true;
  int64_t number = 0;
  if (std::from_chars(line.data(), line.data() + line.size(), number).ptr !=
      line.data() + line.size())
    return false;
  if (kind == ':') return true;
  if (kind == '$' && number < 0) return true;
  if (kind == '$') {
    const auto bytes = static_cast<size_t>(number);
    if (text.size() < bytes + 2 || text.substr(bytes, 2) != "\r\n")
      return false;
    text.remove_prefix(bytes + 2);
    return true;
  }
  if (kind != '*') return false;
  for (; number > 0; --number) {
    if (!TakeValue(text)) return false;
  }
  return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // Opened once: what one input stores the next one may find.
  static yamanote::rocks::TestServer server([] {
    auto options = yamanote::rocks::TestServer::Small(20);
    options.max_value_bytes = 100;
    return options;
  }());
  const std::string_view stream(reinterpret_cast<const char*>(data), size);
  const std::string answers = server.Send(stream);
  std::string_view rest = answers;
  while (!rest.empty())
    Require(TakeValue(rest), "answers are whole values of the protocol");
  server.SendUdp(stream);
  return 0;
}
