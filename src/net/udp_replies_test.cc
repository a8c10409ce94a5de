// udp_replies_test.cc - which replies share a system call, in virtual time, over
// sockets of this machine.

#include "net/udp_replies.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "io/address.h"

namespace yamanote::net {
namespace {

using namespace std::chrono_literals;

constexpr Duration kBound = 50us;
constexpr ClassId kShort = 1;
constexpr ClassId kLong = 2;

class Socket {
 public:
  Socket() {
    auto fd = io::OpenUdp(SocketAddress::Loopback(AddressFamily::kIpv4, 0),
                          io::PortSharing::kExclusive, 1 << 20);
    EXPECT_TRUE(fd) << fd.error().message;
    fd_ = *fd;
    size_ = sizeof(address_);
    getsockname(fd_, reinterpret_cast<sockaddr*>(&address_), &size_);
  }
  ~Socket() { close(fd_); }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  int fd() const { return fd_; }
  // What has come, a datagram a letter. Loopback delivers within the send.
  std::string Received() const {
    std::string all;
    char letter = 0;
    while (recv(fd_, &letter, 1, MSG_DONTWAIT) == 1) all += letter;
    return all;
  }
  void AddressTo(io::Datagram& datagram) const {
    datagram.peer = address_;
    datagram.peer_size = size_;
  }

 private:
  int fd_ = -1;
  sockaddr_storage address_{};
  socklen_t size_ = 0;
};

class UdpRepliesTest : public testing::Test {
 protected:
  // A reply of `letter` to the client, finished `sojourn` after it came.
  void Answer(char letter, Duration sojourn, const Socket& server) {
    UdpRequest* const request = stock_.Take();
    ASSERT_NE(request, nullptr) << "requests that were sent did not come back";
    request->fd = server.fd();
    request->arrival = now_ - sojourn;
    client_.AddressTo(request->datagram);
    ASSERT_TRUE(request->reply.Append(std::string_view(&letter, 1)));
    replies_.Add(*request, now_);
  }
  void Answer(char letter, Duration sojourn) {
    Answer(letter, sojourn, server_);
  }

  // Requests of the class that took so long, one after another.
  void Learn(ClassId request_class, Duration service) {
    for (int i = 0; i < 100; ++i) {
      const uint64_t began = replies_.BeforeRequest(request_class, now_);
      replies_.AfterRequest(request_class, service, began);
    }
  }

  uint64_t Calls() const { return counters_.Get(Counter::kSendBatches); }

  Instant now_ = Instant{} + 1s;
  Socket client_, server_, other_server_;
  MemoryBudget memory_{1 << 20};
  UdpPool pool_{64, 256, 1024, memory_};
  UdpStock stock_{pool_};
  Counters counters_;
  UdpReplies replies_{kBound, stock_, counters_};
};

TEST_F(UdpRepliesTest, AReplyWaitsForAQuarterOfWhatItsRequestTook) {
  Answer('a', 40us);
  EXPECT_FALSE(replies_.empty());
  EXPECT_FALSE(replies_.FlushOld(now_ + 10us - 1ns));
  EXPECT_EQ(client_.Received(), "");
  EXPECT_TRUE(replies_.FlushOld(now_ + 10us));
  EXPECT_EQ(client_.Received(), "a");
  EXPECT_TRUE(replies_.empty());
  EXPECT_FALSE(replies_.Flush()) << "there is nothing left";
}

TEST_F(UdpRepliesTest, AReplyNeverWaitsLongerThanTheBound) {
  Answer('a', 10s);
  EXPECT_FALSE(replies_.FlushOld(now_ + kBound - 1ns));
  EXPECT_TRUE(replies_.FlushOld(now_ + kBound));
}

TEST_F(UdpRepliesTest, TheFirstThatIsDueTakesTheOthersAlong) {
  Answer('a', 100us);  // Due 25 us from now.
  Answer('b', 20us);   // 5 us.
  Answer('c', 100us);
  EXPECT_TRUE(replies_.FlushOld(now_ + 5us));
  EXPECT_EQ(client_.Received(), "abc");
  EXPECT_EQ(Calls(), 1u);
  EXPECT_EQ(counters_.Get(Counter::kBytesOut), 3u);
}

TEST_F(UdpRepliesTest, NobodyWaitsBehindALongRequest) {
  Learn(kShort, 2us);
  Learn(kLong, 500us);
  Answer('a', 40us);  // Due 10 us from now.
  replies_.BeforeRequest(kShort, now_);
  EXPECT_EQ(client_.Received(), "") << "the short one ends in time";
  replies_.BeforeRequest(kLong, now_);
  EXPECT_EQ(client_.Received(), "a");
}

TEST_F(UdpRepliesTest, WhatAPreemptedRequestTookIsNotItsServiceTime) {
  Learn(kShort, 2us);
  // A hundred that gave way to others for a second each.
  for (int i = 0; i < 100; ++i) {
    const uint64_t began = replies_.BeforeRequest(kLong, now_);
    replies_.BeforeRequest(kShort, now_);
    replies_.AfterRequest(kLong, 1s, began);
  }
  Answer('a', 10s);  // May wait for the bound.
  replies_.BeforeRequest(kLong, now_ - 1us);
  EXPECT_EQ(client_.Received(), "") << "the mean is at most the bound";
}

TEST_F(UdpRepliesTest, AFullBatchGoesAtOnceAndRequestsComeBack) {
  // More than the pool has: each batch must return to it.
  for (unsigned batch = 1; batch <= 5; ++batch) {
    for (unsigned i = 0; i < io::kUdpBatch; ++i) Answer('x', 1s);
    EXPECT_TRUE(replies_.empty());
    EXPECT_EQ(client_.Received(), std::string(io::kUdpBatch, 'x'));
    EXPECT_EQ(Calls(), batch);
  }
}

// A short reply's memory is there for the next one, a long one's is not kept.
TEST_F(UdpRepliesTest, RequestsComeBackWithLittleMemory) {
  UdpPool pool(1, 256, 1 << 20, memory_);
  UdpStock stock(pool);
  for (const auto& [bytes, kept] : {std::pair{1024u, 1024u}, {60'000u, 0u}}) {
    UdpRequest* const request = stock.Take();
    ASSERT_NE(request, nullptr);
    ASSERT_TRUE(request->reply.Append(std::string(bytes, 'x')));
    Recycle(*request, stock);
    EXPECT_EQ(stock.Take(), request);
    EXPECT_EQ(request->reply.capacity(), kept);
    stock.Return(request);
  }
}

TEST_F(UdpRepliesTest, EachSocketHasItsCall) {
  Answer('a', 1ms);
  Answer('b', 1ms, other_server_);
  Answer('c', 1ms, other_server_);
  EXPECT_TRUE(replies_.Flush());
  EXPECT_EQ(client_.Received(), "abc");
  EXPECT_EQ(Calls(), 2u);
}

TEST_F(UdpRepliesTest, AReplyThatCannotLeaveIsCountedAndItsRequestComesBack) {
  for (unsigned i = 0; i < 3 * 64; ++i) {
    UdpRequest* const request = stock_.Take();
    ASSERT_NE(request, nullptr);
    request->fd = -1;  // As good as a peer that cannot be reached.
    client_.AddressTo(request->datagram);
    ASSERT_TRUE(request->reply.Append("x"));
    replies_.Add(*request, now_);
    replies_.Flush();
  }
  EXPECT_EQ(counters_.Get(Counter::kUnsent), 3u * 64);
}

}  // namespace
}  // namespace yamanote::net
