// address.h - SocketAddress to and from what the kernel takes.

#pragma once

#include <sys/socket.h>

#include <cstdint>

#include "yamanote/address.h"

namespace yamanote::io {

// Fills `storage` and returns how many bytes of it the kernel needs.
socklen_t ToSockaddr(const SocketAddress& address, sockaddr_storage& storage);

// Returns the address in the first `size` bytes of `storage`; 0.0.0.0:0 if it
// is neither IPv4 nor IPv6 (an unnamed peer).
SocketAddress FromSockaddr(const sockaddr_storage& storage, socklen_t size);

// Returns the port of an IPv4 or IPv6 address, which both have in the same place.
uint16_t PortOf(const sockaddr_storage& storage);

// Returns AF_INET or AF_INET6.
inline int KernelFamily(AddressFamily family) {
  return family == AddressFamily::kIpv4 ? AF_INET : AF_INET6;
}

}  // namespace yamanote::io
