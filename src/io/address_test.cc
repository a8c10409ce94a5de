// address_test.cc - what reads as an address, and what the errors say.

#include "io/address.h"

#include <gtest/gtest.h>

#include <string>
#include <unordered_set>

namespace yamanote {
namespace {

TEST(SocketAddressTest, ReadsAndWritesBothFamilies) {
  for (const std::string text :
       {"0.0.0.0:0", "127.0.0.1:80", "255.255.255.255:65535", "[::]:0",
        "[::1]:11211", "[2001:db8::7]:443", "[::ffff:127.0.0.1]:1",
        "[fe80::1%7]:9"}) {
    const auto address = SocketAddress::Parse(text);
    ASSERT_TRUE(address) << address.error().message;
    EXPECT_EQ(address->ToString(), text);
  }
}

TEST(SocketAddressTest, ReadsTheParts) {
  const auto address = SocketAddress::Parse("10.1.2.3:258");
  ASSERT_TRUE(address);
  EXPECT_EQ(address->family(), AddressFamily::kIpv4);
  EXPECT_EQ(address->port(), 258);
  EXPECT_EQ(address->bytes()[3], 3);
  EXPECT_TRUE(SocketAddress::Parse("[::ffff:1.2.3.4]:1")->IsMappedIpv4());
  EXPECT_FALSE(SocketAddress::Parse("[::1]:1")->IsMappedIpv4());
}

TEST(SocketAddressTest, ZoneMayBeAnInterfaceName) {
  // Every machine has the loopback interface, and its index is 1.
  const auto address = SocketAddress::Parse("[fe80::1%lo]:9");
  ASSERT_TRUE(address) << address.error().message;
  EXPECT_EQ(address->zone(), 1u);
}

struct Wrong {
  std::string text;
  std::string says;
};

TEST(SocketAddressTest, ErrorsSayWhichPartIsWrong) {
  const Wrong wrongs[] = {
      {"", "it is empty"},
      {"127.0.0.1", "the port is missing"},
      {"127.0.0.1:", "port '' is not a number from 0 to 65535"},
      {"127.0.0.1:65536", "port '65536' is not a number from 0 to 65535"},
      {"127.0.0.1:+1", "port '+1'"},
      {"127.0.0.1: 1", "port ' 1'"},
      {"127.0.0.1:99999999999999999999999", "is not a number from 0 to 65535"},
      {":80", "the address is missing; 0.0.0.0 or [::]"},
      {"1.2.3:80", "four octets"},
      {"1.2.3.4.5:80", "four octets"},
      {"1.2.3.256:80", "octet '256'"},
      {"1.2.3.04:80", "octet '04'"},
      {"1..3.4:80", "octet ''"},
      {"localhost:80", "it is a name"},
      {"::1:80", "stands in brackets"},
      {"[::1]80", "the port is missing after ']'"},
      {"[::1]", "the port is missing after ']'"},
      {"[::1:80", "']' is missing"},
      {"[:::1]:80", "not an IPv6 address"},
      {"[127.0.0.1]:80", "not an IPv6 address"},
      {"[fe80::1%nosuchif0]:80", "zone 'nosuchif0'"},
      {"[fe80::1%]:80", "zone ''"},
      {"[fe80::1%0]:80", "zone '0'"},
      {std::string("[::1\0]:80", 9), "not an IPv6 address"},
      {std::string(200, '1'), "200 characters, more than 128"},
  };
  for (const Wrong& wrong : wrongs) {
    const auto address = SocketAddress::Parse(wrong.text);
    ASSERT_FALSE(address) << wrong.text;
    EXPECT_EQ(address.error().code, ErrorCode::kInvalidArgument);
    EXPECT_NE(address.error().message.find(wrong.says), std::string::npos)
        << address.error().message;
  }
}

TEST(SocketAddressTest, HostStandsWithoutBrackets) {
  EXPECT_EQ(SocketAddress::ParseHost("::1", 5)->ToString(), "[::1]:5");
  EXPECT_EQ(SocketAddress::ParseHost("1.2.3.4", 5)->ToString(), "1.2.3.4:5");
  EXPECT_FALSE(SocketAddress::ParseHost("", 5));
  EXPECT_FALSE(SocketAddress::ParseHost("[::1]", 5));
}

TEST(SocketAddressTest, PassesThroughTheKernelsForm) {
  for (const char* text :
       {"127.0.0.1:80", "[2001:db8::7]:443", "[fe80::1%7]:9"}) {
    const SocketAddress address = *SocketAddress::Parse(text);
    sockaddr_storage storage{};
    const socklen_t size = io::ToSockaddr(address, storage);
    EXPECT_EQ(io::FromSockaddr(storage, size), address);
    EXPECT_EQ(io::FromSockaddr(storage, size - 1), SocketAddress())
        << "truncated";
  }
}

TEST(SocketAddressTest, HashSpreadsNeighbours) {
  std::unordered_set<size_t> low_bits;
  for (uint16_t port = 1000; port < 1256; ++port) {
    const auto address = SocketAddress::Loopback(AddressFamily::kIpv4, port);
    low_bits.insert(std::hash<SocketAddress>()(address) % 256);
  }
  // 256 balls into 256 bins fill 162 of them on average, with a deviation of 5;
  // an identity of the port's high byte would fill one.
  EXPECT_GT(low_bits.size(), 120u);
}

}  // namespace
}  // namespace yamanote
