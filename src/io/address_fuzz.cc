// address_fuzz.cc - whatever parses must be written and read back as itself.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "yamanote/address.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using yamanote::SocketAddress;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto address = SocketAddress::Parse(text);
  if (address) {
    const auto again = SocketAddress::Parse(address->ToString());
    YAMANOTE_CHECK(again && *again == *address, "written and read differ");
  } else {
    YAMANOTE_CHECK(!address.error().message.empty(), "no message");
    YAMANOTE_CHECK(address.error().message.size() < 512,
                   "the message is not bounded");
  }
  const auto host = SocketAddress::ParseHost(text, 1);
  if (host) {
    const auto again = SocketAddress::ParseHost(host->HostToString(), 1);
    YAMANOTE_CHECK(again && *again == *host, "written and read differ");
  }
  return 0;
}
