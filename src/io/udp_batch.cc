// udp_batch.cc - recvmmsg, sendmmsg and UDP_SEGMENT.

#include "io/udp_batch.h"

#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/check.h"
#include "io/address.h"
#include "io/system_error.h"

namespace yamanote::io {
namespace {

// Kernel bounds of one UDP_SEGMENT send: UDP_MAX_SEGMENTS, an IP packet's size.
constexpr size_t kMaxSegments = 64;
constexpr size_t kMaxMessageBytes = 65'000;

bool SamePeer(const OutDatagram& a, const OutDatagram& b) {
  return PortOf(*a.peer) == PortOf(*b.peer) && a.peer_size == b.peer_size &&
         std::memcmp(a.peer, b.peer, a.peer_size) == 0;
}

// The size of each datagram but the last.
size_t SegmentOf(const OutDatagram& out) {
  return out.datagram_bytes == 0 ? out.bytes.size() : out.datagram_bytes;
}

bool RefusesSegmentation(int error) {
  return error == EINVAL || error == EIO || error == EOPNOTSUPP ||
         error == ENOPROTOOPT || error == EMSGSIZE;
}

}  // namespace

UdpReceiver::UdpReceiver() {
  for (unsigned i = 0; i < kUdpBatch; ++i) {
    messages_[i].msg_hdr.msg_iov = &parts_[i];
    messages_[i].msg_hdr.msg_iovlen = 1;
  }
}

unsigned UdpReceiver::Receive(int fd, std::span<Datagram* const> slots,
                              Instant now) {
  if (slots.empty()) return 0;
  const bool long_since = now - last_ >= kLongSince;
  last_ = now;
  if (hits_ < kHits && !long_since) {
    const unsigned count = ReceiveOne(fd, *slots[0]);
    hits_ = count == 0 ? 0 : hits_ + 1;
    return count;
  }
  const unsigned count = ReceiveMany(fd, slots);
  hits_ = count < kWorthIt ? 0 : kHits;
  return count;
}

// Returns 0 after an error: it is EAGAIN, or an ICMP answer to something sent earlier,
// which the kernel reports once. There is nothing to receive either way.
unsigned UdpReceiver::ReceiveOne(int fd, Datagram& slot) {
  slot.peer_size = sizeof(slot.peer);
  const ssize_t size =
      recvfrom(fd, slot.data, slot.capacity, MSG_DONTWAIT | MSG_TRUNC,
               reinterpret_cast<sockaddr*>(&slot.peer), &slot.peer_size);
  if (size < 0) return 0;
  // With MSG_TRUNC the kernel says how long the datagram was.
  slot.truncated = static_cast<size_t>(size) > slot.capacity;
  slot.size = std::min(static_cast<size_t>(size), slot.capacity);
  return 1;
}

unsigned UdpReceiver::ReceiveMany(int fd, std::span<Datagram* const> slots) {
  YAMANOTE_CHECK(slots.size() <= kUdpBatch, "more slots than a batch has");
  for (size_t i = 0; i < slots.size(); ++i) {
    if (prepared_[i] == slots[i]) continue;
    prepared_[i] = slots[i];
    parts_[i] = {slots[i]->data, slots[i]->capacity};
    msghdr& header = messages_[i].msg_hdr;
    header.msg_name = &slots[i]->peer;
    header.msg_namelen = sizeof(slots[i]->peer);
  }
  const int count =
      recvmmsg(fd, messages_.data(), static_cast<unsigned>(slots.size()),
               MSG_DONTWAIT, nullptr);
  if (count <= 0) return 0;  // As in ReceiveOne().
  for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
    prepared_[i] = nullptr;  // The kernel wrote into its header.
    const mmsghdr& message = messages_[i];
    Datagram& slot = *slots[i];
    slot.size = message.msg_len;
    slot.truncated = (message.msg_hdr.msg_flags & MSG_TRUNC) != 0;
    slot.peer_size = message.msg_hdr.msg_namelen;
  }
  return static_cast<unsigned>(count);
}

// A batch has few datagrams, and most pairs differ in their ports.
void GroupByPeer(std::span<OutDatagram> out) {
  for (size_t done = 1; done < out.size(); ++done) {
    const OutDatagram& peer = out[done - 1];
    const auto rest = out.subspan(done);
    const auto same = std::ranges::find_if(
        rest, [&](const OutDatagram& one) { return SamePeer(peer, one); });
    if (same != rest.end()) std::rotate(rest.begin(), same, same + 1);
  }
}

UdpSender::UdpSender() = default;

void UdpSender::SetMessage(unsigned index, const OutDatagram& peer,
                           iovec* parts, size_t count, size_t segment) {
  msghdr& header = messages_[index].msg_hdr;
  header = {};
  header.msg_name = const_cast<sockaddr_storage*>(peer.peer);
  header.msg_namelen = peer.peer_size;
  header.msg_iov = parts;
  header.msg_iovlen = count;
  if (segment == 0) return;
  header.msg_control = control_[index].data();
  header.msg_controllen = kControlBytes;
  cmsghdr* const control = CMSG_FIRSTHDR(&header);
  control->cmsg_level = SOL_UDP;
  control->cmsg_type = UDP_SEGMENT;
  control->cmsg_len = CMSG_LEN(sizeof(uint16_t));
  const auto size = static_cast<uint16_t>(segment);
  std::memcpy(CMSG_DATA(control), &size, sizeof(size));
}

// Fills messages_ from the front of `out`; `taken` datagrams of it fit. Returns
// how many messages. A group ends where the peer or the size changes and after
// a datagram that is shorter than the rest. A datagram that must be cut into
// more than one message's worth is not taken: SendPlain() does it.
unsigned UdpSender::BuildGroups(std::span<const OutDatagram> out,
                                size_t& taken) {
  unsigned groups = 0;
  size_t parts = 0;
  taken = 0;
  while (taken < out.size() && groups < kUdpBatch && parts < kParts) {
    const OutDatagram& first = out[taken];
    const size_t segment = SegmentOf(first);
    const bool cut = first.bytes.size() > segment;
    if (cut && (!segmentation_ || first.bytes.size() > kMaxMessageBytes ||
                first.bytes.size() > kMaxSegments * segment)) {
      break;
    }
    Group& group = groups_[groups];
    group = {.segment = cut ? segment : 0, .datagrams = 0, .first = taken};
    iovec* const first_part = &parts_[parts];
    size_t bytes = 0;
    bool whole = true;  // Every datagram so far is a multiple of the segment.
    while (taken < out.size() && parts < kParts) {
      const OutDatagram& next = out[taken];
      if (group.datagrams > 0) {
        const bool is_last =
            next.bytes.size() <= SegmentOf(next) && next.bytes.size() < segment;
        const bool fits =
            segmentation_ && whole && !next.bytes.empty() &&
            SamePeer(first, next) && (SegmentOf(next) == segment || is_last) &&
            bytes + next.bytes.size() <=
                std::min(kMaxMessageBytes, kMaxSegments * segment);
        if (!fits) break;
        group.segment = segment;
      }
      parts_[parts++] = {const_cast<std::byte*>(next.bytes.data()),
                         next.bytes.size()};
      bytes += next.bytes.size();
      whole = segment > 0 && next.bytes.size() % segment == 0;
      ++group.datagrams;
      ++taken;
    }
    SetMessage(groups, first, first_part, group.datagrams, group.segment);
    ++groups;
  }
  return groups;
}

// One datagram per call: after a refusal of UDP_SEGMENT, and for what is larger
// than one message may be. Exact about what failed.
void UdpSender::SendPlain(int fd, std::span<const OutDatagram> out,
                          Sent& sent) {
  for (const OutDatagram& datagram : out) {
    const size_t segment = std::max<size_t>(SegmentOf(datagram), 1);
    bool whole = true;
    size_t offset = 0;
    do {
      const auto part = datagram.bytes.subspan(
          offset, std::min(segment, datagram.bytes.size() - offset));
      const ssize_t n = sendto(
          fd, part.data(), part.size(), MSG_DONTWAIT | MSG_NOSIGNAL,
          reinterpret_cast<const sockaddr*>(datagram.peer), datagram.peer_size);
      if (n < 0) whole = false;
      if (n >= 0) ++sent.calls;
      offset += part.size();
    } while (whole && offset < datagram.bytes.size());
    ++(whole ? sent.datagrams : sent.failed);
  }
}

UdpSender::Sent UdpSender::Send(int fd, std::span<const OutDatagram> out) {
  Sent sent;
  // A reply alone, the common case at low load: 0.1 us less than sendmmsg.
  if (out.size() == 1 && out[0].bytes.size() <= SegmentOf(out[0])) {
    SendPlain(fd, out, sent);
    return sent;
  }
  while (!out.empty()) {
    size_t taken = 0;
    const unsigned groups = BuildGroups(out, taken);
    if (groups == 0) {  // The first one cannot be a message.
      SendPlain(fd, out.first(1), sent);
      out = out.subspan(1);
      continue;
    }
    const int count =
        sendmmsg(fd, messages_.data(), groups, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (count > 0) {
      ++sent.calls;
      size_t done = 0;
      for (int i = 0; i < count; ++i)
        done += groups_[static_cast<size_t>(i)].datagrams;
      sent.datagrams += static_cast<unsigned>(done);
      out = out.subspan(done);
      continue;
    }
    // The first message failed. Each iteration takes at least one off.
    const int error = errno;
    if (error == EINTR) continue;
    if (groups_[0].segment != 0 && RefusesSegmentation(error))
      segmentation_ = false;
    if (groups_[0].segment != 0) {
      SendPlain(fd, out.first(groups_[0].datagrams), sent);
    } else {
      ++sent.failed;
    }
    out = out.subspan(groups_[0].datagrams);
  }
  return sent;
}

Result<int> OpenUdp(const SocketAddress& address, PortSharing sharing,
                    size_t buffer_bytes) {
  const std::string what = "listen on udp " + address.ToString();
  const int fd = socket(KernelFamily(address.family()),
                        SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return SystemError(errno, what);
  if (sharing == PortSharing::kShared) {
    const int one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
  }
  const int bytes =
      static_cast<int>(std::min<size_t>(buffer_bytes, INT32_MAX / 2));
  // Beyond net.core.rmem_max only with CAP_NET_ADMIN; else as much as allowed.
  if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) != 0) {
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
  }
  if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)) != 0) {
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
  }
  sockaddr_storage storage{};
  const socklen_t size = ToSockaddr(address, storage);
  if (bind(fd, reinterpret_cast<const sockaddr*>(&storage), size) != 0) {
    const int error = errno;
    close(fd);
    return SystemError(error, what);
  }
  return fd;
}

size_t ReceiveBufferBytes(int fd) {
  int bytes = 0;
  socklen_t size = sizeof(bytes);
  if (getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, &size) != 0 || bytes < 0)
    return 0;
  return static_cast<size_t>(bytes) / 2;  // The kernel doubles what is asked.
}

uint32_t KernelDrops(int fd) {
  std::array<uint32_t, SK_MEMINFO_VARS> figures{};
  socklen_t size = sizeof(figures);
  if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, figures.data(), &size) != 0)
    return 0;
  return figures[SK_MEMINFO_DROPS];
}

}  // namespace yamanote::io
