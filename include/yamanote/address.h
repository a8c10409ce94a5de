// address.h - a numeric Internet address and port, IPv4 or IPv6.
//
//   Result<SocketAddress> a = SocketAddress::Parse("127.0.0.1:11211");
//   Result<SocketAddress> b = SocketAddress::Parse("[::1]:11211");
//
// A value type; every function may be called from any thread and none blocks.
// Names ("example.org") are not addresses: see Resolve() in socket.h.

#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "yamanote/result.h"

namespace yamanote {

enum class AddressFamily : uint8_t { kIpv4, kIpv6 };

class SocketAddress {
 public:
  // 0.0.0.0:0.
  SocketAddress() = default;

  // Reads "ADDRESS:PORT": four decimal octets, or an IPv6 address in brackets,
  // with "%ZONE" (an interface's name or index) where it is link-local. PORT is
  // 0 .. 65535. kInvalidArgument says which part is wrong and how to write it.
  static Result<SocketAddress> Parse(std::string_view text);

  // The same without the port: "127.0.0.1", "::1", "fe80::1%eth0".
  static Result<SocketAddress> ParseHost(std::string_view host, uint16_t port);

  // Every address of this machine: to listen on. IPv6 "any" takes IPv4 too.
  static SocketAddress Any(AddressFamily family, uint16_t port);

  // This machine as it calls itself: 127.0.0.1 or ::1.
  static SocketAddress Loopback(AddressFamily family, uint16_t port);

  // From bytes in network order.
  static SocketAddress Ipv4(std::array<uint8_t, 4> octets, uint16_t port);
  static SocketAddress Ipv6(std::array<uint8_t, 16> bytes, uint16_t port,
                            uint32_t zone = 0);

  AddressFamily family() const { return family_; }
  uint16_t port() const { return port_; }
  // Index of the interface that a link-local IPv6 address belongs to; else 0.
  uint32_t zone() const { return zone_; }
  // Network order; IPv4 uses the first four.
  const std::array<uint8_t, 16>& bytes() const { return bytes_; }

  // True for ::ffff:a.b.c.d, which is how an IPv6 socket shows an IPv4 peer.
  bool IsMappedIpv4() const;

  // As Parse() reads it: "127.0.0.1:80", "[::1]:80", "[fe80::1%2]:80".
  std::string ToString() const;
  // As ParseHost() reads it.
  std::string HostToString() const;

  friend bool operator==(const SocketAddress&, const SocketAddress&) = default;
  friend auto operator<=>(const SocketAddress&, const SocketAddress&) = default;

 private:
  AddressFamily family_ = AddressFamily::kIpv4;
  std::array<uint8_t, 16> bytes_{};
  uint32_t zone_ = 0;
  uint16_t port_ = 0;
};

}  // namespace yamanote

template <>
struct std::hash<yamanote::SocketAddress> {
  // Not stable between builds; spreads ports and low octets over all bits.
  size_t operator()(const yamanote::SocketAddress& address) const noexcept;
};
