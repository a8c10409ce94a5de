// udp_batch_test.cc - datagram batches over loopback.

#include "io/udp_batch.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <string>
#include <vector>

#include "io/address.h"

namespace yamanote::io {
namespace {

class UdpBatchTest : public testing::TestWithParam<AddressFamily> {
 protected:
  void SetUp() override {
    for (int i = 0; i < 3; ++i) {
      auto fd = OpenUdp(SocketAddress::Loopback(GetParam(), 0),
                        PortSharing::kExclusive, 1 << 20);
      ASSERT_TRUE(fd) << fd.error().message;
      fds_[i] = *fd;
      sizes_[i] = sizeof(addresses_[i]);
      ASSERT_EQ(
          getsockname(fds_[i], reinterpret_cast<sockaddr*>(&addresses_[i]),
                      &sizes_[i]),
          0);
    }
    buffers_.assign(kUdpBatch, std::vector<std::byte>(256));
    slots_.resize(kUdpBatch);
    for (unsigned i = 0; i < kUdpBatch; ++i) {
      slots_[i].data = buffers_[i].data();
      slots_[i].capacity = buffers_[i].size();
      slot_pointers_.push_back(&slots_[i]);
    }
  }
  void TearDown() override {
    for (const int fd : fds_) close(fd);
  }

  OutDatagram To(int peer, const std::string& text, size_t datagram_bytes = 0) {
    return {std::as_bytes(std::span(text)), datagram_bytes, &addresses_[peer],
            sizes_[peer]};
  }

  unsigned Look(int receiver) {
    return receiver_.Receive(fds_[receiver], slot_pointers_, now_);
  }

  // As many as `count` datagrams of one letter from the socket 0.
  void SendTo(int peer, unsigned count) {
    const std::string text = "a";
    const std::vector<OutDatagram> out(count, To(peer, text));
    ASSERT_EQ(sender_.Send(fds_[0], out).datagrams, count);
  }

  // Everything that `receiver` gets within its first `count` datagrams.
  std::vector<std::string> Receive(int receiver, size_t count) {
    std::vector<std::string> texts;
    while (texts.size() < count) {
      pollfd ready{fds_[receiver], POLLIN, 0};
      if (poll(&ready, 1, 2000) != 1) break;  // Loopback delivers at once.
      const unsigned n = Look(receiver);
      for (unsigned i = 0; i < n; ++i) {
        texts.emplace_back(reinterpret_cast<const char*>(slots_[i].data),
                           slots_[i].size);
      }
    }
    return texts;
  }

  Instant now_ = Instant{} + std::chrono::hours(1);
  int fds_[3];
  sockaddr_storage addresses_[3];
  socklen_t sizes_[3];
  std::vector<std::vector<std::byte>> buffers_;
  std::vector<Datagram> slots_;
  std::vector<Datagram*> slot_pointers_;
  UdpReceiver receiver_;
  UdpSender sender_;
};

TEST_P(UdpBatchTest, ABatchIsOneCallEachWay) {
  std::vector<std::string> texts;
  for (unsigned i = 0; i < kUdpBatch; ++i)
    texts.push_back(std::string(1 + i, 'a'));
  std::vector<OutDatagram> out;
  for (const auto& text : texts) out.push_back(To(1, text));
  const auto sent = sender_.Send(fds_[0], out);
  EXPECT_EQ(sent.datagrams, kUdpBatch);
  EXPECT_EQ(sent.calls, 1u);
  EXPECT_EQ(Look(1), kUdpBatch);
  for (unsigned i = 0; i < kUdpBatch; ++i) {
    EXPECT_EQ(slots_[i].size, i + 1);
    EXPECT_EQ(slots_[i].peer_size, sizes_[0]);
    EXPECT_EQ(std::memcmp(&slots_[i].peer, &addresses_[0], sizes_[0]), 0);
  }
  EXPECT_EQ(Look(1), 0u);
}

TEST_P(UdpBatchTest, OneIsReceivedAloneUntilSeveralAreLikely) {
  EXPECT_EQ(Look(1), 0u);
  SendTo(1, UdpReceiver::kHits + 3);
  for (unsigned i = 0; i < UdpReceiver::kHits; ++i) EXPECT_EQ(Look(1), 1u);
  EXPECT_EQ(Look(1), 3u);
  // That was worth it, so the next one looks for many again; and finds one.
  SendTo(1, 1);
  EXPECT_EQ(Look(1), 1u);
  SendTo(1, 2);
  EXPECT_EQ(Look(1), 1u);
  EXPECT_EQ(Look(1), 1u);
  EXPECT_EQ(Look(1), 0u);
}

TEST_P(UdpBatchTest, WhatCameWhileNobodyLookedIsReceivedAtOnce) {
  EXPECT_EQ(Look(1), 0u);
  SendTo(1, 3);
  now_ += UdpReceiver::kLongSince;
  EXPECT_EQ(Look(1), 3u);
}

TEST_P(UdpBatchTest, AloneOrNotADatagramIsDescribedAlike) {
  EXPECT_EQ(Look(1), 0u);
  const std::string longer(257, 'x'), empty;
  for (const bool alone : {true, false}) {
    ASSERT_EQ(sender_.Send(fds_[0], {{To(1, longer)}}).datagrams, 1u);
    if (!alone) now_ += UdpReceiver::kLongSince;
    ASSERT_EQ(Look(1), 1u);
    EXPECT_TRUE(slots_[0].truncated);
    EXPECT_EQ(slots_[0].size, 256u);
    EXPECT_EQ(slots_[0].peer_size, sizes_[0]);
    EXPECT_EQ(std::memcmp(&slots_[0].peer, &addresses_[0], sizes_[0]), 0);
    ASSERT_EQ(sender_.Send(fds_[0], {{To(1, empty)}}).datagrams, 1u);
    if (!alone) now_ += UdpReceiver::kLongSince;
    ASSERT_EQ(Look(1), 1u);
    EXPECT_FALSE(slots_[0].truncated);
    EXPECT_EQ(slots_[0].size, 0u);
  }
}

TEST_P(UdpBatchTest, PeersAreGroupedInTheOrderOfTheirFirst) {
  const std::string texts[] = {"a", "b", "c", "d", "e", "f"};
  std::vector<OutDatagram> out = {To(1, texts[0]), To(2, texts[1]),
                                  To(1, texts[2]), To(0, texts[3]),
                                  To(2, texts[4]), To(1, texts[5])};
  GroupByPeer(out);
  std::string order;
  for (const OutDatagram& one : out)
    order += static_cast<char>(one.bytes.front());
  EXPECT_EQ(order, "acfbed");
  GroupByPeer({});
}

// What joins into one cut message must come out as it went in, cut or not.
TEST_P(UdpBatchTest, SegmentationChangesNothingForTheReceiver) {
  const std::vector<std::string> texts = {"aaaa", "bbbb", "cc",   "dddd",
                                          "",     "eeee", "ffff", "ggggg"};
  for (const bool on : {true, false}) {
    sender_.set_segmentation(on);
    std::vector<OutDatagram> out;
    for (const auto& text : texts) out.push_back(To(1, text));
    EXPECT_EQ(sender_.Send(fds_[0], out).datagrams, texts.size());
    EXPECT_EQ(Receive(1, texts.size()), texts) << "segmentation " << on;
  }
}

TEST_P(UdpBatchTest, PeersAreNotMixedUp) {
  const std::string one = "one!", two = "two!";
  const std::vector<OutDatagram> out = {To(1, one), To(2, two), To(1, one),
                                        To(1, one)};
  EXPECT_EQ(sender_.Send(fds_[0], out).datagrams, 4u);
  EXPECT_EQ(Receive(1, 3), (std::vector<std::string>{one, one, one}));
  EXPECT_EQ(Receive(2, 1), (std::vector<std::string>{two}));
}

TEST_P(UdpBatchTest, ALongReplyIsCutWhereAsked) {
  for (const bool on : {true, false}) {
    sender_.set_segmentation(on);
    const std::string text = "aaaabbbbcc";
    EXPECT_EQ(
        sender_.Send(fds_[0], {{To(1, text, 4), To(1, text, 4)}}).datagrams,
        2u);
    EXPECT_EQ(Receive(1, 6), (std::vector<std::string>{"aaaa", "bbbb", "cc",
                                                       "aaaa", "bbbb", "cc"}));
  }
}

TEST_P(UdpBatchTest, AReplyOfMoreSegmentsThanOneMessageMayHaveArrives) {
  const std::string text(1000, 'x');  // 100 datagrams; UDP_SEGMENT takes 64.
  EXPECT_EQ(sender_.Send(fds_[0], {{To(1, text, 10)}}).datagrams, 1u);
  EXPECT_EQ(Receive(1, 100).size(), 100u);
}

TEST_P(UdpBatchTest, WhatDoesNotFitIsMarked) {
  const std::string text(257, 'x');
  EXPECT_EQ(sender_.Send(fds_[0], {{To(1, text)}}).datagrams, 1u);
  ASSERT_EQ(Receive(1, 1).size(), 1u);
  EXPECT_TRUE(slots_[0].truncated);
  EXPECT_EQ(slots_[0].size, 256u);
}

TEST_P(UdpBatchTest, OneBadDatagramDoesNotStopTheOthers) {
  const std::string good = "good", huge(70'000, 'x');
  const auto sent =
      sender_.Send(fds_[0], {{To(1, good), To(1, huge), To(1, good)}});
  EXPECT_EQ(sent.datagrams, 2u);
  EXPECT_EQ(sent.failed, 1u);
  EXPECT_EQ(Receive(1, 2), (std::vector<std::string>{good, good}));
}

TEST_P(UdpBatchTest, KernelDropsAreCounted) {
  const int small = 1;  // The kernel's minimum, some 2 KiB.
  ASSERT_EQ(setsockopt(fds_[1], SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)),
            0);
  const std::string text(200, 'x');
  const std::vector<OutDatagram> out(kUdpBatch, To(1, text));
  sender_.set_segmentation(false);
  unsigned sent = 0, received = 0;
  for (int i = 0; i < 4; ++i) sent += sender_.Send(fds_[0], out).datagrams;
  while (const unsigned n = Look(1)) received += n;
  EXPECT_LT(received, sent);
  EXPECT_EQ(KernelDrops(fds_[1]), sent - received);
}

INSTANTIATE_TEST_SUITE_P(Families, UdpBatchTest,
                         testing::Values(AddressFamily::kIpv4,
                                         AddressFamily::kIpv6));

TEST(OpenUdpTest, AnAddressInUseIsAnError) {
  const auto first = OpenUdp(SocketAddress::Loopback(AddressFamily::kIpv4, 0),
                             PortSharing::kExclusive, 65536);
  ASSERT_TRUE(first);
  EXPECT_GE(ReceiveBufferBytes(*first), 65536u);
  sockaddr_storage storage{};
  socklen_t size = sizeof(storage);
  getsockname(*first, reinterpret_cast<sockaddr*>(&storage), &size);
  const auto second =
      OpenUdp(FromSockaddr(storage, size), PortSharing::kExclusive, 65536);
  EXPECT_FALSE(second);
  close(*first);
}

}  // namespace
}  // namespace yamanote::io
