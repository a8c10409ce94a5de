// spin_test.cc - the spin protocol's framing.

#include "net/spin.h"

#include <gtest/gtest.h>

namespace yamanote::net {
namespace {

using namespace std::chrono_literals;

const SpinMessage kMessage{.stamp = 0x0102030405060708,
                           .service_ns = 5000,
                           .flow = 0xA0B0C0D0,
                           .sequence = 7,
                           .request_class = 1};

SpinProtocol TwoClasses() {
  return SpinProtocol(
      {.max_service = 1ms, .classes = {{.name = "short"}, {.name = "long"}}});
}

TEST(SpinTest, LayoutIsLittleEndianAndFixed) {
  const auto bytes = EncodeSpin(kMessage);
  EXPECT_EQ(std::to_integer<int>(bytes[0]), 0x08);
  EXPECT_EQ(std::to_integer<int>(bytes[7]), 0x01);
  EXPECT_EQ(std::to_integer<int>(bytes[8]), 5000 & 0xFF);
  EXPECT_EQ(std::to_integer<int>(bytes[9]), 5000 >> 8);
  EXPECT_EQ(std::to_integer<int>(bytes[19]), 0xA0);
  EXPECT_EQ(std::to_integer<int>(bytes[20]), 7);
  EXPECT_EQ(std::to_integer<int>(bytes[24]), 1);
  EXPECT_EQ(std::to_integer<int>(bytes[28]), 0);
}

TEST(SpinTest, DecodeInvertsEncode) {
  const auto decoded = DecodeSpin(EncodeSpin(kMessage));
  ASSERT_TRUE(decoded);
  EXPECT_EQ(EncodeSpin(*decoded), EncodeSpin(kMessage));
}

TEST(SpinTest, AWholeMessageIsARequestOfItsClass) {
  const auto bytes = EncodeSpin(kMessage);
  for (const Transport transport : {Transport::kTcp, Transport::kUdp}) {
    const Frame frame = TwoClasses().Next(bytes, transport);
    EXPECT_EQ(frame.status, Frame::Status::kRequest);
    EXPECT_EQ(frame.size, 32u);
    EXPECT_EQ(frame.request_class, 1);
  }
}

TEST(SpinTest, AnUnknownClassIsTheDefaultClass) {
  SpinMessage message = kMessage;
  message.request_class = 2;
  EXPECT_EQ(
      TwoClasses().Next(EncodeSpin(message), Transport::kUdp).request_class, 0);
}

TEST(SpinTest, PartOfAMessageWaitsForMoreOnTcpAndIsMalformedOnUdp) {
  const auto bytes = EncodeSpin(kMessage);
  for (size_t size = 0; size < bytes.size(); ++size) {
    const Bytes part = Bytes(bytes).first(size);
    EXPECT_EQ(TwoClasses().Next(part, Transport::kTcp).status,
              Frame::Status::kNeedMore);
    EXPECT_EQ(TwoClasses().Next(part, Transport::kUdp).status,
              Frame::Status::kMalformed);
  }
}

TEST(SpinTest, MoreThanAMessageIsPipelinedOnTcpAndMalformedOnUdp) {
  std::array<std::byte, 33> bytes{};
  EXPECT_EQ(TwoClasses().Next(bytes, Transport::kTcp).size, 32u);
  EXPECT_EQ(TwoClasses().Next(bytes, Transport::kUdp).status,
            Frame::Status::kMalformed);
}

TEST(SpinTest, ReservedAndServiceTimeAreChecked) {
  SpinMessage message = kMessage;
  message.reserved = 1;
  EXPECT_EQ(TwoClasses().Next(EncodeSpin(message), Transport::kTcp).status,
            Frame::Status::kMalformed);
  message = kMessage;
  message.service_ns = 1'000'000;
  EXPECT_EQ(TwoClasses().Next(EncodeSpin(message), Transport::kTcp).status,
            Frame::Status::kRequest);
  message.service_ns = 1'000'001;  // max_service is 1 ms.
  EXPECT_EQ(TwoClasses().Next(EncodeSpin(message), Transport::kTcp).status,
            Frame::Status::kMalformed);
}

TEST(SpinTest, OverloadIsAnsweredWithTheMessageAndTheReason) {
  Reply reply(1024);
  TwoClasses().Refuse(EncodeSpin(kMessage), Transport::kUdp,
                      Refusal::kOverloaded, reply);
  const auto answer = DecodeSpin(reply.bytes());
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->stamp, kMessage.stamp);
  EXPECT_EQ(answer->reserved, 1 + static_cast<uint32_t>(Refusal::kOverloaded));
  EXPECT_FALSE(reply.close_after_send());
}

TEST(SpinTest, MalformedInputIsNotAnsweredAndClosesTheConnection) {
  Reply reply(1024);
  TwoClasses().Refuse(EncodeSpin(kMessage), Transport::kTcp,
                      Refusal::kMalformed, reply);
  EXPECT_TRUE(reply.bytes().empty());
  EXPECT_TRUE(reply.close_after_send());
}

TEST(ReplyTest, TheLimitHoldsForEachReplyNotForTheirSum) {
  Reply reply(4);
  EXPECT_TRUE(reply.Append("abcd"));
  EXPECT_FALSE(reply.Append("e"));
  reply.Begin();
  EXPECT_TRUE(reply.Append("efgh"));
  EXPECT_FALSE(reply.Append("i"));
  EXPECT_EQ(reply.all_bytes().size(), 8u);
  EXPECT_EQ(reply.bytes().size(), 4u);
  reply.Clear();
  EXPECT_TRUE(reply.all_bytes().empty());
  EXPECT_TRUE(reply.Append("abcd"));
}

}  // namespace
}  // namespace yamanote::net
