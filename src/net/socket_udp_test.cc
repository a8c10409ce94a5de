// socket_udp_test.cc - UDP: datagrams, their limits and their errors.

#include <gtest/gtest.h>

#include <array>
#include <cerrno>
#include <string>
#include <vector>

#include "net/socket_test_host.h"
#include "yamanote/socket.h"

namespace yamanote {
namespace {

using namespace std::chrono_literals;

class UdpTest : public HostTest {
 protected:
  static UdpSocket Bind(AddressFamily family = AddressFamily::kIpv4) {
    return UdpSocket::Bind(SocketAddress::Loopback(family, 0)).value();
  }
};
INSTANTIATE_TEST_SUITE_P(Hosts, UdpTest, testing::ValuesIn(kHosts), NameOf);

WriteBuffer AsBytes(std::string_view text) {
  return std::as_bytes(std::span(text));
}

TEST_P(UdpTest, CarriesDatagramsAndTheirSender) {
  Run([this] {
    UdpSocket a = Bind(), b = Bind();
    std::array<std::byte, 100> buffer;
    Result<UdpSocket::Received> received;
    {
      Fork receiver(*this, [&] { received = b.RecvFrom(buffer, Soon()); });
      ASSERT_TRUE(a.SendTo(AsBytes("hello"), *b.LocalAddress(), Soon()));
    }
    ASSERT_TRUE(received) << received.error().message;
    EXPECT_EQ(received->bytes, 5u);
    EXPECT_FALSE(received->truncated);
    EXPECT_EQ(received->from, *a.LocalAddress());
  });
}

TEST_P(UdpTest, KeepsBoundariesAndTellsOfTruncation) {
  Run([] {
    UdpSocket a = Bind(), b = Bind();
    const SocketAddress to = *b.LocalAddress();
    ASSERT_TRUE(a.SendTo({}, to, Soon()));
    ASSERT_TRUE(a.SendTo(AsBytes("12345"), to, Soon()));
    std::array<std::byte, 4> buffer;
    EXPECT_EQ(b.RecvFrom(buffer, Soon())->bytes, 0u) << "an empty datagram";
    const auto cut = b.RecvFrom(buffer, Soon());
    ASSERT_TRUE(cut);
    EXPECT_EQ(cut->bytes, 4u);
    EXPECT_TRUE(cut->truncated);
  });
}

TEST_P(UdpTest, ConnectedSocketTalksToItsPeerAlone) {
  Run([] {
    UdpSocket server = Bind(), stranger = Bind();
    UdpSocket client = UdpSocket::Connect(*server.LocalAddress()).value();
    EXPECT_EQ(*client.PeerAddress(), *server.LocalAddress());
    ASSERT_TRUE(stranger.SendTo(AsBytes("no"), *client.LocalAddress(), Soon()));
    ASSERT_TRUE(client.Send(AsBytes("ping"), Soon()));
    std::array<std::byte, 8> buffer;
    const auto received = server.RecvFrom(buffer, Soon());
    ASSERT_TRUE(received);
    ASSERT_TRUE(server.SendTo(AsBytes("answer"), received->from, Soon()));
    EXPECT_EQ(*client.Recv(buffer, Soon()), 6u);
  });
}

TEST_P(UdpTest, TellsThatNobodyReceives) {
  Run([] {
    UdpSocket gone = Bind();
    UdpSocket client = UdpSocket::Connect(*gone.LocalAddress()).value();
    gone.Close();
    ASSERT_TRUE(client.Send(AsBytes("x"), Soon()));
    std::array<std::byte, 8> buffer;
    const auto result = client.Recv(buffer, Soon());
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, ErrorCode::kUnavailable);
    EXPECT_EQ(result.error().system_errno, ECONNREFUSED);
  });
}

TEST_P(UdpTest, RefusesADatagramThatIsTooLong) {
  Run([] {
    UdpSocket a = Bind();
    const std::vector<std::byte> fits(65507), too_long(65508);
    EXPECT_TRUE(a.SendTo(fits, *a.LocalAddress(), Soon()));
    const auto refused = a.SendTo(too_long, *a.LocalAddress(), Soon());
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kInvalidArgument);
    EXPECT_NE(refused.error().message.find("65508 bytes"), std::string::npos)
        << refused.error().message;
    EXPECT_FALSE(a.Send(AsBytes("x"), Soon())) << "it is not connected";
  });
}

TEST_P(UdpTest, DeadlineStopTokenAndCloseEndAWait) {
  Run([this] {
    UdpSocket socket = Bind();
    std::array<std::byte, 8> buffer;
    EXPECT_EQ(
        socket.RecvFrom(buffer, {.deadline = DeadlineIn(2ms)}).error().code,
        ErrorCode::kDeadlineExceeded);
    std::stop_source source;
    ErrorCode code = ErrorCode::kInternal;
    {
      Fork receiver(*this, [&] {
        code =
            socket.RecvFrom(buffer, {.stop = source.get_token()}).error().code;
      });
      source.request_stop();
    }
    EXPECT_EQ(code, ErrorCode::kCancelled);
    {
      Fork receiver(*this,
                    [&] { code = socket.Recv(buffer, Soon()).error().code; });
      socket.Close();
    }
    EXPECT_EQ(code, ErrorCode::kClosed);
  });
}

TEST_P(UdpTest, Ipv6SocketReachesIpv4ByItsMappedAddress) {
  Run([] {
    UdpSocket four = Bind();
    auto six = UdpSocket::Bind(SocketAddress::Any(AddressFamily::kIpv6, 0));
    if (!six && six.error().code == ErrorCode::kUnsupported) {
      GTEST_SKIP() << "this kernel has no IPv6: " << six.error().message;
    }
    ASSERT_TRUE(six) << six.error().message;
    const auto mapped = SocketAddress::ParseHost("::ffff:127.0.0.1",
                                                 four.LocalAddress()->port());
    ASSERT_TRUE(six->SendTo(AsBytes("x"), *mapped, Soon()));
    std::array<std::byte, 8> buffer;
    const auto received = four.RecvFrom(buffer, Soon());
    ASSERT_TRUE(received);
    EXPECT_EQ(received->from,
              SocketAddress::Loopback(AddressFamily::kIpv4,
                                      six->LocalAddress()->port()));
    EXPECT_FALSE(four.SendTo(AsBytes("x"), *mapped, Soon()))
        << "the other family";
  });
}

}  // namespace
}  // namespace yamanote
