// memcached_test.cc - frames however they arrive, refusals, datagrams.

#include "net/memcached.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "net/memory_budget.h"

namespace yamanote::net::memcached {
namespace {

Bytes AsBytes(std::string_view text) { return std::as_bytes(std::span(text)); }

std::string Join(const Frame& frame) {
  return std::to_string(static_cast<int>(frame.status)) + "/" +
         std::to_string(frame.size) + "+" + std::to_string(frame.skip) + "/" +
         std::to_string(frame.request_class);
}

// Frames the stream as a server does whose reads return the pieces that `cut`
// asks for: Next() sees only what has arrived, and what it asks to skip is
// gone.
template <typename Cut>
std::vector<std::string> FrameStream(const MemcachedProtocol& protocol,
                                     std::string_view stream, Cut&& cut) {
  std::vector<std::string> frames;
  size_t begin = 0;
  size_t end = 0;
  while (begin < stream.size()) {
    const Frame frame = protocol.Next(
        AsBytes(stream.substr(begin, end > begin ? end - begin : 0)),
        Transport::kTcp);
    if (frame.status == Frame::Status::kNeedMore) {
      if (end >= stream.size()) break;
      end = std::min(stream.size(), std::max(end, begin) + cut());
      continue;
    }
    frames.push_back(std::to_string(begin) + ":" + Join(frame));
    if (frame.size == 0) break;  // The connection would be closed.
    begin += frame.size + frame.skip;
  }
  return frames;
}

std::string Get(int keys) {
  std::string line = "get";
  for (int i = 0; i < keys; ++i) line += " key" + std::to_string(i);
  return line + "\r\n";
}

std::string Refused(std::string_view frame, Transport transport, Refusal why,
                    bool* closes = nullptr) {
  Reply reply(4096);
  MemcachedProtocol().Refuse(AsBytes(frame), transport, why, reply);
  if (closes != nullptr) *closes = reply.close_after_send();
  return std::string(AsText(reply.bytes()));
}

Frame NextTcp(std::string_view input) {
  return MemcachedProtocol().Next(AsBytes(input), Transport::kTcp);
}

std::string Udp(std::string_view body, char total = 1) {
  return std::string({0, 7, 0, 0, 0, total, 0, 0}) + std::string(body);
}

TEST(MemcachedFrameTest, LineCommandsEndAtTheNewline) {
  EXPECT_EQ(Join(NextTcp("get a\r\nget b\r\n")), "1/7+0/0");
  EXPECT_EQ(Join(NextTcp("get a\nget b\n")), "1/6+0/0");
  EXPECT_EQ(Join(NextTcp("\r\n")), "1/2+0/0");
  EXPECT_EQ(Join(NextTcp("nonsense\r\n")), "1/10+0/0");
}

TEST(MemcachedFrameTest, StorageSpansLineAndDataBlock) {
  EXPECT_EQ(Join(NextTcp("set a 0 0 3\r\nabc\r\nget")), "1/18+0/0");
  EXPECT_EQ(Join(NextTcp("cas a 0 0 3 9 noreply\r\nabc\r\n")), "1/28+0/0");
  EXPECT_EQ(Join(NextTcp("ms a 3 T0 q\r\nabc\r\n")), "1/18+0/0");
  // 13 bytes of line, 5 of data: the server is told to wait for 18.
  EXPECT_EQ(Join(NextTcp("set a 0 0 3\r\na")), "0/18+0/0");
}

TEST(MemcachedFrameTest, DataLengthCountsEvenIfTheEndIsWrong) {
  EXPECT_EQ(Join(NextTcp("set a 0 0 3\r\nabcdefgh\r\n")), "1/18+0/0");
}

// memcached reads no data block behind a line that it can't parse.
TEST(MemcachedFrameTest, BadStorageLinesHaveNoDataBlock) {
  const std::string long_key(kMaxKeyBytes + 1, 'k');
  for (const std::string line :
       {"set a 0 0 -1\r\n", "set a 0 0\r\n", "set a x 0 3\r\n", "set\r\n",
        "set a 0 0 2147483646\r\n", "cas a 0 0 3\r\n", "ms a x\r\n", "ms a\r\n",
        "set a 0 0 3 noreply more\r\n"}) {
    EXPECT_EQ(NextTcp(line + "abc\r\n").size, line.size()) << line;
    EXPECT_EQ(NextTcp(line + "abc\r\n").skip, 0u) << line;
  }
  const std::string line = "set " + long_key + " 0 0 3\r\n";
  EXPECT_EQ(NextTcp(line + "abc\r\n").size, line.size());
}

TEST(MemcachedFrameTest, ValueOverTheLimitIsSkippedUnseen) {
  const MemcachedProtocol protocol({.max_value_bytes = 10});
  const Frame at_limit =
      protocol.Next(AsBytes("set a 0 0 10\r\n"), Transport::kTcp);
  EXPECT_EQ(Join(at_limit), "0/26+0/0");
  const Frame over =
      protocol.Next(AsBytes("set a 0 0 11\r\n"), Transport::kTcp);
  EXPECT_EQ(Join(over), "1/14+13/0");
  // The largest length there is must not overflow anything.
  const Frame huge =
      protocol.Next(AsBytes("set a 0 0 2147483645\r\n"), Transport::kTcp);
  EXPECT_EQ(Join(huge), "1/22+2147483647/0");
}

TEST(MemcachedFrameTest, OnlyKeyListsMayHaveLongLines) {
  const std::string junk(kMaxLineBytes + 1, 'x');
  EXPECT_EQ(Join(NextTcp(junk)), "2/0+0/0");
  EXPECT_EQ(Join(NextTcp(junk + "\r\n")), "2/0+0/0");
  EXPECT_EQ(Join(NextTcp("set " + junk)), "2/0+0/0");
  EXPECT_EQ(Join(NextTcp("get " + junk)), "0/0+0/0");
  EXPECT_EQ(NextTcp(Get(1000)).size, Get(1000).size());
  EXPECT_EQ(Join(NextTcp(junk.substr(1))), "0/0+0/0");
  // Those are not looked at again before their end.
  EXPECT_EQ(NextTcp("get " + junk).until, std::byte{'\n'});
}

TEST(MemcachedFrameTest, GetsOfManyKeysAreLong) {
  EXPECT_EQ(NextTcp(Get(1)).request_class, kShortClass);
  EXPECT_EQ(NextTcp(Get(32)).request_class, kShortClass);
  EXPECT_EQ(NextTcp(Get(33)).request_class, kLongClass);
  // gat's first word is a time, not a key.
  EXPECT_EQ(NextTcp("gat 10" + Get(32).substr(3)).request_class, kShortClass);
  EXPECT_EQ(NextTcp("gat 10" + Get(33).substr(3)).request_class, kLongClass);
  const MemcachedProtocol protocol({.long_get_keys = 2});
  EXPECT_EQ(
      protocol.Next(AsBytes("get a b c\r\n"), Transport::kTcp).request_class,
      kLongClass);
  EXPECT_EQ(protocol.Classes().size(), 2u);
}

// However the bytes arrive, the frames are the same.
TEST(MemcachedFrameTest, ArrivalDoesNotChangeTheFrames) {
  const MemcachedProtocol protocol({.max_value_bytes = 100});
  std::string stream = "set a 0 0 3\r\nabc\r\nget a b\r\n" + Get(600) +
                       "set b 0 0 5 noreply\r\na\r\nbc\r\nms c 2 T0\r\nxx\r\n"
                       "set d 0 0 3\r\nabcdefgh\r\nset big 0 0 500\r\n" +
                       std::string(502, 'x') + "mn\r\ndelete a\r\nquit\r\n" +
                       "set late 0 0 9\r\nabcd";
  const auto whole =
      FrameStream(protocol, stream, [&] { return stream.size(); });
  ASSERT_EQ(whole.size(), 11u);  // The last one is not complete.
  EXPECT_EQ(FrameStream(protocol, stream, [] { return size_t{1}; }), whole);
  for (size_t cut = 1; cut < stream.size(); ++cut) {
    size_t calls = 0;
    const auto frames = FrameStream(
        protocol, stream, [&] { return calls++ == 0 ? cut : stream.size(); });
    ASSERT_EQ(frames, whole) << "first read of " << cut << " bytes";
  }
}

// Every prefix of a request is "need more", never something else.
TEST(MemcachedFrameTest, EveryTruncationWaits) {
  for (const std::string request :
       {"set key 1 2 10 noreply\r\n0123456789\r\n", "cas k 1 2 3 4\r\nabc\r\n",
        "ms key 4 T10 F3\r\nabcd\r\n", "get a b c\r\n", "gat 10 a\r\n",
        "incr a 5\r\n", "flush_all 10 noreply\r\n"}) {
    for (size_t size = 0; size < request.size(); ++size) {
      const Frame frame = NextTcp(request.substr(0, size));
      ASSERT_EQ(frame.status, Frame::Status::kNeedMore) << request << size;
      ASSERT_LE(frame.size, request.size());
    }
    ASSERT_EQ(NextTcp(request).size, request.size());
  }
}

TEST(MemcachedUdpTest, DatagramIsOneFrame) {
  const MemcachedProtocol protocol;
  const std::string two = Udp("get a\r\n" + Get(40));
  const Frame frame = protocol.Next(AsBytes(two), Transport::kUdp);
  EXPECT_EQ(frame.status, Frame::Status::kRequest);
  EXPECT_EQ(frame.size, two.size());
  EXPECT_EQ(frame.request_class, kLongClass);
}

TEST(MemcachedUdpTest, SeveralDatagramsAreRefused) {
  const std::string request = Udp("get a\r\n", 2);
  const Frame frame =
      MemcachedProtocol().Next(AsBytes(request), Transport::kUdp);
  EXPECT_EQ(frame.status, Frame::Status::kMalformed);
  EXPECT_EQ(frame.size, request.size());
  EXPECT_EQ(Refused(request, Transport::kUdp, Refusal::kMalformed),
            Udp("SERVER_ERROR multi-packet request not supported\r\n"));
}

TEST(MemcachedUdpTest, DatagramsWithoutHeaderGetNoAnswer) {
  for (size_t size = 0; size < kUdpHeaderBytes; ++size) {
    const std::string datagram = Udp("").substr(0, size);
    EXPECT_EQ(
        MemcachedProtocol().Next(AsBytes(datagram), Transport::kUdp).status,
        Frame::Status::kMalformed);
    EXPECT_EQ(Refused(datagram, Transport::kUdp, Refusal::kMalformed), "");
  }
}

TEST(MemcachedUdpTest, RepliesAreSplitAtTheDatagramLimit) {
  const std::string body(1392 + 1392 + 1, 'x');
  Reply reply(1 << 20);
  ASSERT_TRUE(AppendDatagrams(0x0102, AsBytes(body), reply));
  EXPECT_EQ(reply.datagram_bytes(), kMaxDatagramBytes);
  ASSERT_EQ(reply.bytes().size(), 1400u + 1400u + 9u);
  for (size_t i = 0; i < 3; ++i) {
    const auto header = ReadUdpHeader(reply.bytes().subspan(i * 1400));
    ASSERT_TRUE(header);
    EXPECT_EQ(header->request, 0x0102);
    EXPECT_EQ(header->sequence, i);
    EXPECT_EQ(header->total, 3);
  }
  Reply exact(1 << 20);
  ASSERT_TRUE(AppendDatagrams(1, AsBytes(body.substr(0, 1392)), exact));
  EXPECT_EQ(exact.bytes().size(), 1400u);
  EXPECT_EQ(exact.datagram_bytes(), 0u);
}

// It is made in place: room for it and its headers is all that it takes.
TEST(MemcachedUdpTest, RepliesThatDoNotFitAppendNothing) {
  const std::string body(200'000, 'x');
  const size_t framed = body.size() + 144 * kUdpHeaderBytes;
  MemoryBudget memory(framed - MemoryBudget::kFreeBytes);
  Reply fits(framed, &memory), too_short(framed - 1, &memory);
  EXPECT_FALSE(AppendDatagrams(1, AsBytes(body), too_short));
  EXPECT_TRUE(too_short.bytes().empty());
  EXPECT_TRUE(AppendDatagrams(1, AsBytes(body), fits));
  EXPECT_EQ(fits.bytes().size(), framed);
  EXPECT_EQ(fits.datagram_bytes(), kMaxDatagramBytes);
}

TEST(MemcachedRefuseTest, OverloadKeepsTheStreamAndNoreply) {
  bool closes = true;
  EXPECT_EQ(
      Refused("get a\r\n", Transport::kTcp, Refusal::kOverloaded, &closes),
      "SERVER_ERROR out of capacity\r\n");
  EXPECT_FALSE(closes);
  for (const auto* line :
       {"set a 0 0 1 noreply\r\nx\r\n", "delete a noreply\r\n",
        "incr a 1 noreply\r\n", "flush_all noreply \r\n"}) {
    EXPECT_EQ(Refused(line, Transport::kTcp, Refusal::kOverloaded), "") << line;
  }
  // A key may be called noreply.
  EXPECT_NE(Refused("get noreply\r\n", Transport::kTcp, Refusal::kOverloaded),
            "");
  EXPECT_EQ(Refused("quit\r\n", Transport::kTcp, Refusal::kOverloaded, &closes),
            "");
  EXPECT_TRUE(closes);
}

TEST(MemcachedRefuseTest, WhatLosesTheStreamCloses) {
  for (const Refusal why : {Refusal::kMalformed, Refusal::kTooLarge}) {
    bool closes = false;
    const std::string text = Refused("xxxx", Transport::kTcp, why, &closes);
    EXPECT_TRUE(text.ends_with("\r\n")) << text;
    EXPECT_TRUE(closes);
  }
}

// The requests behind it are still to be refused.
TEST(MemcachedRefuseTest, AStoppingServerKeepsTheStream) {
  bool closes = true;
  EXPECT_EQ(Refused("get a\r\n", Transport::kTcp, Refusal::kShutdown, &closes),
            "SERVER_ERROR shutting down\r\n");
  EXPECT_FALSE(closes);
}

// Two servers that answered each other's errors would never end.
TEST(MemcachedUdpTest, AnswersAreNotAnswered) {
  const MemcachedProtocol protocol;
  const std::string header({0, 7, 0, 0, 0, 1, 0, 0});
  for (const auto* answer :
       {"ERROR\r\n", "SERVER_ERROR out of capacity\r\n", "CLIENT_ERROR x\r\n",
        "VALUE a 0 7\r\nget a\r\n\r\nEND\r\n", "STORED\r\n", "6\r\n", "HD\r\n",
        "-ERR unknown command\r\n", "+OK\r\n", ":1\r\n", "$-1\r\n", "*0\r\n"}) {
    const std::string datagram = header + answer;
    EXPECT_EQ(protocol.Next(std::as_bytes(std::span(datagram)), Transport::kUdp)
                  .status,
              Frame::Status::kMalformed)
        << answer;
    for (const Refusal why : {Refusal::kMalformed, Refusal::kTooLarge,
                              Refusal::kOverloaded, Refusal::kShutdown}) {
      EXPECT_EQ(Refused(datagram, Transport::kUdp, why), "") << answer;
    }
  }
  // A server of RESP marks its answers in the header.
  const std::string marked({0, 7, 0, 0, 0, 1, 0, 1});
  EXPECT_EQ(Refused(marked + "get a\r\n", Transport::kUdp, Refusal::kMalformed),
            "");
  // A part of a longer answer, or of a request in several parts.
  const std::string part({0, 7, 0, 1, 0, 2, 0, 0});
  EXPECT_EQ(Refused(part + "END\r\n", Transport::kUdp, Refusal::kMalformed),
            "");
  EXPECT_NE(Refused(part + "get a\r\n", Transport::kUdp, Refusal::kMalformed),
            "");
}

TEST(MemcachedParseTest, NumbersAreDecimalAndBounded) {
  uint32_t small = 7;
  EXPECT_TRUE(ParseNumber("4294967295", small));
  EXPECT_EQ(small, 4294967295u);
  for (const auto* bad : {"", "-1", "+1", "1x", " 1", "4294967296", "x"}) {
    EXPECT_FALSE(ParseNumber(bad, small)) << bad;
  }
  int64_t number = 0;
  EXPECT_TRUE(ParseNumber("-5", number));
  EXPECT_EQ(number, -5);
}

// Random bytes with a grammar's flavour: any two ways to cut them agree.
TEST(MemcachedFrameTest, RandomStreamsAgreeHoweverCut) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  const std::string_view words[] = {
      "set ",    "get ", "ms ", "a ",  "0 ", "3 ",   "\r\n", "\n", "abc",
      "noreply", " ",    "-1 ", "12 ", "q ", "cas ", "900 ", "\r"};
  const MemcachedProtocol protocol({.max_value_bytes = 64});
  for (int round = 0; round < 300; ++round) {
    std::string stream;
    for (int i = 0; i < 60; ++i) stream += words[random() % std::size(words)];
    const auto whole =
        FrameStream(protocol, stream, [&] { return stream.size(); });
    const auto bytes = FrameStream(protocol, stream, [] { return size_t{1}; });
    ASSERT_EQ(whole, bytes) << stream;
  }
}

}  // namespace
}  // namespace yamanote::net::memcached
