// address.cc - reads and writes numeric socket addresses.
//
// inet_pton decides what an IPv6 address is; IPv4 is read here, so that the
// error can name the octet.

#include "io/address.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <optional>
#include <utility>

namespace yamanote {
namespace {

constexpr std::string_view kExamples =
    "; write ADDRESS:PORT, for example 127.0.0.1:11211 or [::1]:11211";
// Longest text worth reading: an IPv6 address, a zone, a port, punctuation.
constexpr size_t kMaxText = 128;

// What is quoted in a message: bounded, and free of control characters.
std::string Quote(std::string_view text) {
  std::string result = "'";
  for (const char c : text.substr(0, kMaxText)) {
    const auto byte = static_cast<unsigned char>(c);
    result += byte >= 0x20 && byte < 0x7f ? c : '?';
  }
  if (text.size() > kMaxText) result += "...";
  return result + "'";
}

tl::unexpected<Error> Invalid(std::string_view text, const std::string& why) {
  return MakeError(ErrorCode::kInvalidArgument,
                   "address " + Quote(text) + ": " + why);
}

// Returns the value of `digits`, nothing if it is empty, has other characters
// or exceeds `limit`.
std::optional<uint32_t> ParseNumber(std::string_view digits, uint32_t limit) {
  if (digits.empty()) return std::nullopt;
  uint64_t value = 0;
  for (const char c : digits) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + static_cast<uint64_t>(c - '0');
    if (value > limit) return std::nullopt;
  }
  return static_cast<uint32_t>(value);
}

Result<uint16_t> ParsePort(std::string_view text, std::string_view port) {
  const auto value = ParseNumber(port, 65535);
  if (!value) {
    return Invalid(text, "port " + Quote(port) +
                             " is not a number from 0 to 65535" +
                             std::string(kExamples));
  }
  return static_cast<uint16_t>(*value);
}

bool LooksLikeName(std::string_view host) {
  return std::any_of(host.begin(), host.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  });
}

Result<SocketAddress> ParseIpv4(std::string_view host, uint16_t port) {
  if (LooksLikeName(host)) {
    return Invalid(
        host,
        "it is a name, not a numeric address; write the number, such as "
        "127.0.0.1 (a program finds it with Resolve())");
  }
  std::array<uint8_t, 4> octets{};
  std::string_view rest = host;
  for (size_t i = 0; i < octets.size(); ++i) {
    const size_t dot = rest.find('.');
    if ((dot == std::string_view::npos) != (i == 3)) {
      return Invalid(host, "an IPv4 address has four octets, as in 127.0.0.1");
    }
    const std::string_view octet = rest.substr(0, dot);
    const auto value = ParseNumber(octet, 255);
    // A leading zero is octal to some readers and decimal to others.
    if (!value || (octet.size() > 1 && octet[0] == '0')) {
      return Invalid(
          host, "octet " + Quote(octet) +
                    " is not a number from 0 to 255 without leading zeros");
    }
    octets[i] = static_cast<uint8_t>(*value);
    rest = dot == std::string_view::npos ? std::string_view()
                                         : rest.substr(dot + 1);
  }
  return SocketAddress::Ipv4(octets, port);
}

Result<uint32_t> ParseZone(std::string_view host, std::string_view zone) {
  if (const auto index = ParseNumber(zone, UINT32_MAX); index && *index != 0)
    return *index;
  const std::string name(zone);
  const uint32_t index = zone.empty() || zone.size() >= IF_NAMESIZE ||
                                 name.find('\0') != std::string::npos
                             ? 0
                             : if_nametoindex(name.c_str());
  if (index == 0) {
    return Invalid(
        host, "zone " + Quote(zone) +
                  " is neither an interface of this machine nor an index > 0");
  }
  return index;
}

Result<SocketAddress> ParseIpv6(std::string_view host, uint16_t port) {
  const size_t percent = host.find('%');
  const std::string bare(host.substr(0, percent));
  std::array<uint8_t, 16> bytes{};
  if (bare.find('\0') != std::string::npos ||
      inet_pton(AF_INET6, bare.c_str(), bytes.data()) != 1) {
    return Invalid(host, "it is not an IPv6 address, as in ::1 or 2001:db8::7");
  }
  uint32_t zone = 0;
  if (percent != std::string_view::npos) {
    const auto parsed = ParseZone(host, host.substr(percent + 1));
    if (!parsed) return tl::unexpected(parsed.error());
    zone = *parsed;
  }
  return SocketAddress::Ipv6(bytes, port, zone);
}

}  // namespace

Result<SocketAddress> SocketAddress::Parse(std::string_view text) {
  if (text.empty())
    return Invalid(text, "it is empty" + std::string(kExamples));
  if (text.size() > kMaxText) {
    return Invalid(text, "it has " + std::to_string(text.size()) +
                             " characters, more than " +
                             std::to_string(kMaxText));
  }
  if (text[0] == '[') {
    const size_t end = text.find(']');
    if (end == std::string_view::npos) {
      return Invalid(text, "']' is missing" + std::string(kExamples));
    }
    if (end + 1 == text.size() || text[end + 1] != ':') {
      return Invalid(text,
                     "the port is missing after ']'" + std::string(kExamples));
    }
    const auto port = ParsePort(text, text.substr(end + 2));
    if (!port) return tl::unexpected(port.error());
    return ParseIpv6(text.substr(1, end - 1), *port);
  }
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) {
    return Invalid(text, "the port is missing" + std::string(kExamples));
  }
  if (text.find(':') != colon) {
    return Invalid(text, "an IPv6 address stands in brackets before its port" +
                             std::string(kExamples));
  }
  if (colon == 0) {
    return Invalid(
        text,
        "the address is missing; 0.0.0.0 or [::] means every address "
        "of this machine");
  }
  const auto port = ParsePort(text, text.substr(colon + 1));
  if (!port) return tl::unexpected(port.error());
  return ParseIpv4(text.substr(0, colon), *port);
}

Result<SocketAddress> SocketAddress::ParseHost(std::string_view host,
                                               uint16_t port) {
  if (host.empty()) return Invalid(host, "it is empty; write 127.0.0.1 or ::1");
  if (host.size() > kMaxText) {
    return Invalid(host, "it has " + std::to_string(host.size()) +
                             " characters, more than " +
                             std::to_string(kMaxText));
  }
  return host.find(':') == std::string_view::npos ? ParseIpv4(host, port)
                                                  : ParseIpv6(host, port);
}

SocketAddress SocketAddress::Any(AddressFamily family, uint16_t port) {
  SocketAddress result;
  result.family_ = family;
  result.port_ = port;
  return result;
}

SocketAddress SocketAddress::Loopback(AddressFamily family, uint16_t port) {
  if (family == AddressFamily::kIpv4) return Ipv4({127, 0, 0, 1}, port);
  std::array<uint8_t, 16> bytes{};
  bytes[15] = 1;
  return Ipv6(bytes, port);
}

SocketAddress SocketAddress::Ipv4(std::array<uint8_t, 4> octets,
                                  uint16_t port) {
  SocketAddress result;
  std::copy(octets.begin(), octets.end(), result.bytes_.begin());
  result.port_ = port;
  return result;
}

SocketAddress SocketAddress::Ipv6(std::array<uint8_t, 16> bytes, uint16_t port,
                                  uint32_t zone) {
  SocketAddress result;
  result.family_ = AddressFamily::kIpv6;
  result.bytes_ = bytes;
  result.zone_ = zone;
  result.port_ = port;
  return result;
}

bool SocketAddress::IsMappedIpv4() const {
  constexpr std::array<uint8_t, 12> kPrefix = {0, 0, 0, 0, 0,    0,
                                               0, 0, 0, 0, 0xff, 0xff};
  return family_ == AddressFamily::kIpv6 &&
         std::equal(kPrefix.begin(), kPrefix.end(), bytes_.begin());
}

std::string SocketAddress::HostToString() const {
  char buffer[INET6_ADDRSTRLEN];
  inet_ntop(io::KernelFamily(family_), bytes_.data(), buffer, sizeof(buffer));
  std::string result = buffer;
  if (zone_ != 0) {
    result += '%';
    result += std::to_string(zone_);
  }
  return result;
}

std::string SocketAddress::ToString() const {
  std::string host = HostToString();
  if (family_ == AddressFamily::kIpv6) host = "[" + host + "]";
  return host + ":" + std::to_string(port_);
}

namespace io {

socklen_t ToSockaddr(const SocketAddress& address, sockaddr_storage& storage) {
  // Copied, not cast: sockaddr_storage's bytes are the only object there is.
  if (address.family() == AddressFamily::kIpv4) {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_port = htons(address.port());
    std::memcpy(&in.sin_addr, address.bytes().data(), sizeof(in.sin_addr));
    std::memcpy(&storage, &in, sizeof(in));
    return sizeof(in);
  }
  sockaddr_in6 in6{};
  in6.sin6_family = AF_INET6;
  in6.sin6_port = htons(address.port());
  in6.sin6_scope_id = address.zone();
  std::memcpy(&in6.sin6_addr, address.bytes().data(), sizeof(in6.sin6_addr));
  std::memcpy(&storage, &in6, sizeof(in6));
  return sizeof(in6);
}

uint16_t PortOf(const sockaddr_storage& storage) {
  static_assert(offsetof(sockaddr_in, sin_port) ==
                offsetof(sockaddr_in6, sin6_port));
  sockaddr_in in;
  std::memcpy(&in, &storage, sizeof(in));
  return ntohs(in.sin_port);
}

SocketAddress FromSockaddr(const sockaddr_storage& storage, socklen_t size) {
  if (size >= sizeof(sockaddr_in) && storage.ss_family == AF_INET) {
    sockaddr_in in{};
    std::memcpy(&in, &storage, sizeof(in));
    std::array<uint8_t, 4> octets{};
    std::memcpy(octets.data(), &in.sin_addr, sizeof(in.sin_addr));
    return SocketAddress::Ipv4(octets, ntohs(in.sin_port));
  }
  if (size >= sizeof(sockaddr_in6) && storage.ss_family == AF_INET6) {
    sockaddr_in6 in6{};
    std::memcpy(&in6, &storage, sizeof(in6));
    std::array<uint8_t, 16> bytes{};
    std::memcpy(bytes.data(), &in6.sin6_addr, sizeof(in6.sin6_addr));
    return SocketAddress::Ipv6(bytes, ntohs(in6.sin6_port), in6.sin6_scope_id);
  }
  return SocketAddress();
}

}  // namespace io
}  // namespace yamanote

size_t std::hash<yamanote::SocketAddress>::operator()(
    const yamanote::SocketAddress& address) const noexcept {
  uint64_t words[2];
  std::memcpy(words, address.bytes().data(), sizeof(words));
  // Multiply-xorshift by odd 64-bit constants, one round for each word.
  uint64_t mixed =
      (uint64_t{address.port()} << 32 | address.zone()) + 0x9e3779b97f4a7c15;
  for (const uint64_t word : words) {
    mixed = (mixed ^ word) * 0xbf58476d1ce4e5b9;
    mixed ^= mixed >> 29;
  }
  mixed *= 0x94d049bb133111eb;
  return mixed ^ (mixed >> 32);
}
