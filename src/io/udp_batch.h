// udp_batch.h - many datagrams in one system call, both ways.
//
// Receiving: into the caller's buffers, by recvmmsg, or by recvfrom where no more than
// one is expected. Sending: sendmmsg; consecutive datagrams of one size to one peer go
// down as one message that the kernel cuts (UDP_SEGMENT), where it can.
//
// One batch object per core; not thread-safe. The socket may be shared.

#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "yamanote/address.h"
#include "yamanote/result.h"
#include "yamanote/time.h"

namespace yamanote::io {

inline constexpr unsigned kUdpBatch = 32;

// A datagram to receive into.
struct Datagram {
  std::byte* data = nullptr;
  size_t capacity = 0;
  size_t size = 0;         // Received; at most capacity.
  bool truncated = false;  // It was larger than capacity.
  socklen_t peer_size = 0;
  sockaddr_storage peer;  // Valid for peer_size bytes.
};

class UdpReceiver {
 public:
  UdpReceiver();

  // Receives up to slots.size() <= kUdpBatch datagrams without waiting and
  // returns how many; 0 if there are none. Fewer than there is room for does not mean
  // that there are no more. A slot that was not filled keeps its buffer as long as it is
  // handed in again. `now`: about the present.
  //
  // recvmmsg costs 0.7 us more than recvfrom for the first datagram, half of it to find no
  // second one, and gains from the third on (2-vCPU AMD VM, 2026-11-28). So one is received
  // alone where nothing else is likely: by who looks again and again, kLongSince after the
  // call before at most, unless kHits calls in a row found something. Who looks seldom
  // receives all that waits, so that a policy can choose among them.
  unsigned Receive(int fd, std::span<Datagram* const> slots, Instant now);

  static constexpr unsigned kHits = 4;
  static constexpr Duration kLongSince = std::chrono::microseconds(5);

 private:
  static constexpr unsigned kWorthIt = 3;  // Datagrams of one recvmmsg.

  unsigned ReceiveOne(int fd, Datagram& slot);
  unsigned ReceiveMany(int fd, std::span<Datagram* const> slots);

  unsigned hits_ = 0;  // Calls in a row that found something.
  Instant last_{};     // The call before.
  std::array<mmsghdr, kUdpBatch> messages_{};
  std::array<iovec, kUdpBatch> parts_{};
  // Whose buffer each message names: an idle core receives nothing most times.
  std::array<const Datagram*, kUdpBatch> prepared_{};
};

// What to send to whom.
struct OutDatagram {
  std::span<const std::byte> bytes;
  // The bytes are cut into datagrams of this size; 0: they are one datagram.
  size_t datagram_bytes = 0;
  const sockaddr_storage* peer = nullptr;
  socklen_t peer_size = 0;
};

// Moves datagrams to one peer side by side, so that they can go down as one message;
// each peer's keep their order, and the first of each peer too.
void GroupByPeer(std::span<OutDatagram> out);

class UdpSender {
 public:
  struct Sent {
    unsigned datagrams = 0;  // Of `out` sent whole.
    unsigned failed = 0;     // Given up: the peer cannot be reached or is full.
    unsigned calls = 0;      // System calls that sent something.
  };

  UdpSender();

  // Sends all of `out` without waiting for room.
  Sent Send(int fd, std::span<const OutDatagram> out);

  // False: never use UDP_SEGMENT. For tests, and cleared when the kernel or the
  // device refuses it.
  void set_segmentation(bool on) { segmentation_ = on; }
  bool segmentation() const { return segmentation_; }

 private:
  static constexpr size_t kControlBytes = CMSG_SPACE(sizeof(uint16_t));
  static constexpr unsigned kParts = 256;

  // One message of a call and the datagrams of `out` that it finishes.
  struct Group {
    size_t segment = 0;  // 0: a plain datagram.
    unsigned datagrams = 0;
    size_t first = 0;  // Index in `out`.
  };

  void SendPlain(int fd, std::span<const OutDatagram> out, Sent& sent);
  unsigned BuildGroups(std::span<const OutDatagram> out, size_t& taken);
  void SetMessage(unsigned index, const OutDatagram& peer, iovec* parts,
                  size_t count, size_t segment);

  std::array<mmsghdr, kUdpBatch> messages_{};
  std::array<Group, kUdpBatch> groups_{};
  std::array<iovec, kParts> parts_{};
  alignas(cmsghdr)
      std::array<std::array<std::byte, kControlBytes>, kUdpBatch> control_{};
  bool segmentation_ = true;
};

// Whether several sockets may share one address, the kernel choosing one by the
// peer's hash.
enum class PortSharing : uint8_t { kExclusive, kShared };

// Opens a bound, non-blocking UDP socket. `buffer_bytes`
// is asked for in both directions; the kernel may grant less (net.core.rmem_max).
Result<int> OpenUdp(const SocketAddress& address, PortSharing sharing,
                    size_t buffer_bytes);

// Returns the bytes of receive buffer that the kernel granted `fd`.
size_t ReceiveBufferBytes(int fd);

// Returns how many datagrams `fd`'s queue had no room for since it was opened; wraps. A
// system call, for statistics: the count beside each datagram (SO_RXQ_OVFL) costs 0.1 us
// of each.
uint32_t KernelDrops(int fd);

}  // namespace yamanote::io
