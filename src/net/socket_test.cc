// socket_test.cc - TCP: every call, its limits and its errors (socket_tcp.cc, and
// the waiting of socket_core.cc).

#include "yamanote/socket.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>
#include <vector>

#include "net/socket_test_host.h"

namespace yamanote {
namespace {

using namespace std::chrono_literals;

class TcpTest : public HostTest {};
INSTANTIATE_TEST_SUITE_P(Hosts, TcpTest, testing::ValuesIn(kHosts), NameOf);

std::string ReadText(TcpStream& stream, size_t size) {
  std::string text(size, '\0');
  const auto done =
      stream.ReadFull(std::as_writable_bytes(std::span(text)), Soon());
  EXPECT_TRUE(done) << done.error().message;
  return text;
}

TEST_P(TcpTest, CarriesBytesBothWays) {
  Run([] {
    Pair pair = Connect();
    ASSERT_TRUE(pair.client.WriteAll("ping", Soon()));
    EXPECT_EQ(ReadText(pair.server, 4), "ping");
    ASSERT_TRUE(pair.server.WriteAll("pong", Soon()));
    EXPECT_EQ(ReadText(pair.client, 4), "pong");
    EXPECT_EQ(*pair.client.PeerAddress(), *pair.server.LocalAddress());
    EXPECT_EQ(*pair.client.LocalAddress(), *pair.server.PeerAddress());
  });
}

TEST_P(TcpTest, WaitsForBytesThatComeLater) {
  Run([this] {
    Pair pair = Connect();
    std::string received;
    {
      Fork reader(*this, [&] { received = ReadText(pair.server, 2000); });
      for (int i = 0; i < 1000; ++i)
        ASSERT_TRUE(pair.client.WriteAll("ab", Soon()));
    }
    EXPECT_EQ(received.substr(1990), "ababababab");
  });
}

TEST_P(TcpTest, HalfCloseEndsOneDirection) {
  Run([] {
    Pair pair = Connect();
    ASSERT_TRUE(pair.client.WriteAll("bye", Soon()));
    ASSERT_TRUE(pair.client.Shutdown(Ends::kWriting));
    EXPECT_EQ(ReadText(pair.server, 3), "bye");
    std::array<std::byte, 8> buffer;
    EXPECT_EQ(*pair.server.Read(buffer, Soon()), 0u) << "the end";
    ASSERT_TRUE(pair.server.WriteAll("answer", Soon()));
    EXPECT_EQ(ReadText(pair.client, 6), "answer");
    EXPECT_EQ(pair.client.Write(buffer).error().code, ErrorCode::kClosed);
  });
}

TEST_P(TcpTest, ReadFullSaysHowMuchCameBeforeTheEnd) {
  Run([] {
    Pair pair = Connect();
    ASSERT_TRUE(pair.client.WriteAll("abc", Soon()));
    pair.client.Close();
    std::array<std::byte, 8> buffer;
    const auto result = pair.server.ReadFull(buffer, Soon());
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, ErrorCode::kClosed);
    EXPECT_NE(result.error().message.find("after 3 of 8 bytes"),
              std::string::npos)
        << result.error().message;
  });
}

TEST_P(TcpTest, ResetByThePeerIsUnavailable) {
  Run([this] {
    Pair pair = Connect();
    Result<size_t> result = 0;
    {
      Fork reader(*this, [&] {
        std::array<std::byte, 8> buffer;
        result = pair.client.Read(buffer, Soon());
      });
      pair.server.Abort();
    }
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, ErrorCode::kUnavailable);
    EXPECT_EQ(result.error().system_errno, ECONNRESET);
    // The error was taken by the read; the write finds a closed connection.
    EXPECT_EQ(pair.client.WriteAll("x", Soon()).error().code,
              ErrorCode::kClosed);
  });
}

TEST_P(TcpTest, DeadlineEndsAWaitAndNotBefore) {
  Run([] {
    Pair pair = Connect();
    TcpListener listener = Listen();
    std::array<std::byte, 8> buffer;
    const Instant deadline = DeadlineIn(5ms);
    const Until until{.deadline = deadline};
    EXPECT_EQ(pair.client.Read(buffer, until).error().code,
              ErrorCode::kDeadlineExceeded);
    EXPECT_GE(Clock::now(), deadline - 1us) << "1 us is 200 ppm of 5 ms";
    // It has passed: what would wait fails at once, what need not wait
    // succeeds.
    EXPECT_EQ(listener.Accept(until).error().code,
              ErrorCode::kDeadlineExceeded);
    ASSERT_TRUE(pair.server.WriteAll("x", until));
    ASSERT_EQ(*pair.client.Read(buffer, Soon()), 1u);
    ASSERT_TRUE(pair.server.WriteAll("y", until));
    pair.server.Close();
    ASSERT_EQ(ReadText(pair.client, 1), "y");
    EXPECT_EQ(*pair.client.Read(buffer, until), 0u);
  });
}

TEST_P(TcpTest, TimeoutOfTheSocketLimitsEachCall) {
  Run([] {
    Pair pair = Connect();
    std::array<std::byte, 8> buffer;
    pair.client.SetReadTimeout(2ms);
    EXPECT_EQ(pair.client.Read(buffer).error().code,
              ErrorCode::kDeadlineExceeded);
    pair.client.SetReadTimeout(Duration::max());
    ASSERT_TRUE(pair.server.WriteAll("x"));
    EXPECT_EQ(*pair.client.Read(buffer), 1u);
    // Nobody reads: the buffers fill, and then the write waits.
    pair.client.SetWriteTimeout(2ms);
    const std::vector<std::byte> much(32 * 1024 * 1024);
    const auto written = pair.client.WriteAll(much);
    ASSERT_FALSE(written);
    EXPECT_EQ(written.error().code, ErrorCode::kDeadlineExceeded);
    EXPECT_NE(written.error().message.find("of 33554432 bytes"),
              std::string::npos)
        << written.error().message;
  });
}

TEST_P(TcpTest, StopTokenEndsAWait) {
  Run([this] {
    Pair pair = Connect();
    std::array<std::byte, 8> buffer;
    std::stop_source source;
    Result<size_t> result = 0;
    {
      Fork reader(*this, [&] {
        result = pair.client.Read(buffer, {.deadline = DeadlineIn(kHang),
                                           .stop = source.get_token()});
      });
      source.request_stop();
    }
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, ErrorCode::kCancelled);
    // Triggered before: what would wait gives up, what need not wait succeeds.
    const Until stopped{.stop = source.get_token()};
    EXPECT_EQ(pair.client.Read(buffer, stopped).error().code,
              ErrorCode::kCancelled);
    EXPECT_TRUE(pair.client.WriteAll("x", stopped));
    // The wait left nothing behind.
    ASSERT_TRUE(pair.server.WriteAll("later", Soon()));
    EXPECT_EQ(ReadText(pair.client, 5), "later");
  });
}

TEST_P(TcpTest, CloseEndsEveryCall) {
  Run([this] {
    Pair pair = Connect();
    TcpListener listener = Listen();
    Result<size_t> read = 0;
    Result<void> write;
    ErrorCode accept = ErrorCode::kInternal;
    {
      const std::vector<std::byte> much(32 * 1024 * 1024);
      Fork reader(*this, [&] {
        std::array<std::byte, 8> buffer;
        read = pair.client.Read(buffer, Soon());
      });
      Fork writer(*this, [&] { write = pair.client.WriteAll(much, Soon()); });
      Fork acceptor(*this,
                    [&] { accept = listener.Accept(Soon()).error().code; });
      pair.client.Close();
      listener.Close();
      reader.Join();
      writer.Join();
    }
    EXPECT_EQ(read.error().code, ErrorCode::kClosed);
    EXPECT_EQ(write.error().code, ErrorCode::kClosed);
    EXPECT_EQ(accept, ErrorCode::kClosed);
    EXPECT_EQ(pair.client.descriptor(), -1);
    EXPECT_EQ(pair.client.PeerAddress().error().code, ErrorCode::kClosed);
    pair.client.Close();
  });
}

// The port is free again as soon as Close() has returned and no call is left.
TEST_P(TcpTest, CloseGivesTheAddressBack) {
  Run([] {
    TcpListener first = Listen();
    const SocketAddress address = *first.LocalAddress();
    const auto taken = TcpListener::Listen(address);
    ASSERT_FALSE(taken);
    EXPECT_EQ(taken.error().code, ErrorCode::kInvalidArgument);
    EXPECT_NE(taken.error().message.find(address.ToString()),
              std::string::npos);
    EXPECT_NE(taken.error().message.find("choose another port"),
              std::string::npos);
    first.Close();
    EXPECT_TRUE(TcpListener::Listen(address));
  });
}

TEST_P(TcpTest, ConnectSaysWhyItFailed) {
  Run([] {
    TcpListener listener = Listen();
    const SocketAddress address = *listener.LocalAddress();
    listener.Close();
    const auto refused = TcpStream::Connect(address, Soon());
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kUnavailable);
    EXPECT_EQ(refused.error().system_errno, ECONNREFUSED);
    EXPECT_NE(refused.error().message.find(address.ToString()),
              std::string::npos);
  });
}

// The kernel drops the SYN once the queue of a listener that nobody serves is
// full (backlog + 1 connections), and the connecting side waits.
TEST_P(TcpTest, ConnectKeepsItsDeadline) {
  Run([] {
    TcpListener listener =
        TcpListener::Listen(SocketAddress::Loopback(AddressFamily::kIpv4, 0),
                            {.backlog = 1})
            .value();
    std::vector<TcpStream> queued;
    for (int i = 0; i < 8; ++i) {
      auto stream = TcpStream::Connect(*listener.LocalAddress(),
                                       {.deadline = DeadlineIn(20ms)});
      if (!stream) {
        EXPECT_EQ(stream.error().code, ErrorCode::kDeadlineExceeded)
            << stream.error().message;
        return;
      }
      queued.push_back(std::move(*stream));
    }
    ADD_FAILURE() << "8 connections were taken by a queue of 2";
  });
}

TEST_P(TcpTest, ListenRefusesWhatCannotBe) {
  Run([] {
    const auto backlog = TcpListener::Listen(
        SocketAddress::Loopback(AddressFamily::kIpv4, 0), {.backlog = 0});
    ASSERT_FALSE(backlog);
    EXPECT_NE(
        backlog.error().message.find("backlog is 0; it must be 1 .. 65535"),
        std::string::npos);
    // 192.0.2.0/24 is for documentation (RFC 5737): no machine has it.
    const auto foreign =
        TcpListener::Listen(*SocketAddress::Parse("192.0.2.1:0"));
    ASSERT_FALSE(foreign);
    EXPECT_EQ(foreign.error().code, ErrorCode::kInvalidArgument)
        << foreign.error().message;
  });
}

TEST_P(TcpTest, ReusePortSharesAnAddress) {
  Run([] {
    const SocketAddress any = SocketAddress::Loopback(AddressFamily::kIpv4, 0);
    TcpListener first = TcpListener::Listen(any, {.reuse_port = true}).value();
    EXPECT_TRUE(
        TcpListener::Listen(*first.LocalAddress(), {.reuse_port = true}));
  });
}

// Lowers the process's descriptor limit to what is open; restores it.
class NoDescriptorsLeft {
 public:
  NoDescriptorsLeft() {
    EXPECT_EQ(getrlimit(RLIMIT_NOFILE, &saved_), 0);
    const int lowest_free = dup(STDIN_FILENO);
    close(lowest_free);
    rlimit lowered = saved_;
    lowered.rlim_cur = static_cast<rlim_t>(lowest_free);
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &lowered), 0);
  }
  ~NoDescriptorsLeft() { setrlimit(RLIMIT_NOFILE, &saved_); }

 private:
  rlimit saved_{};
};

TEST_P(TcpTest, AcceptWithoutDescriptorsKeepsTheConnection) {
  Run([] {
    TcpListener listener = Listen();
    TcpStream client =
        TcpStream::Connect(*listener.LocalAddress(), Soon()).value();
    ASSERT_TRUE(client.WriteAll("kept", Soon()));
    {
      const NoDescriptorsLeft none;
      const auto refused = listener.Accept(Soon());
      ASSERT_FALSE(refused);
      EXPECT_EQ(refused.error().code, ErrorCode::kResourceExhausted);
      EXPECT_NE(refused.error().message.find("ulimit -n"), std::string::npos);
      EXPECT_EQ(TcpStream::Connect(*listener.LocalAddress()).error().code,
                ErrorCode::kResourceExhausted);
    }
    TcpStream server = listener.Accept(Soon()).value();
    EXPECT_EQ(ReadText(server, 4), "kept");
  });
}

TEST_P(TcpTest, VectorsAreWrittenAndReadInFullThroughSmallBuffers) {
  Run([this] {
    Pair pair = Connect();
    // The sender's alone: a small receive window makes TCP wait for timers.
    const int small = 4096;
    ASSERT_EQ(setsockopt(pair.client.descriptor(), SOL_SOCKET, SO_SNDBUF,
                         &small, sizeof(small)),
              0);
    // More parts than one call takes, some empty, some larger than the buffers.
    std::vector<std::string> texts;
    std::vector<WriteBuffer> parts;
    std::string expected;
    for (size_t i = 0; i < 3 * TcpStream::kMaxParts; ++i) {
      texts.push_back(
          std::string(i % 7 == 0 ? 0 : i * i, static_cast<char>('a' + i % 26)));
      expected += texts.back();
    }
    for (const std::string& text : texts)
      parts.push_back(std::as_bytes(std::span(text)));
    std::string received(expected.size(), '\0');
    {
      Fork reader(*this, [&] {
        auto rest = std::as_writable_bytes(std::span(received));
        while (!rest.empty()) {
          // Two buffers at a time.
          const size_t half = std::min<size_t>(rest.size(), 1000) / 2;
          const std::array<ReadBuffer, 2> buffers = {
              rest.first(half),
              rest.subspan(half, std::min(rest.size() - half, half + 1))};
          const auto count = pair.server.ReadVector(buffers, Soon());
          ASSERT_TRUE(count) << count.error().message;
          ASSERT_GT(*count, 0u);
          rest = rest.subspan(*count);
        }
      });
      const auto written = pair.client.WriteAllVector(parts, Soon());
      EXPECT_TRUE(written) << written.error().message;
    }
    EXPECT_TRUE(received == expected);
  });
}

// An IPv4 client of a listener on every IPv6 address appears as ::ffff:a.b.c.d.
TEST_P(TcpTest, Ipv6ListenerTakesIpv4) {
  Run([] {
    auto listener =
        TcpListener::Listen(SocketAddress::Any(AddressFamily::kIpv6, 0));
    if (!listener && listener.error().code == ErrorCode::kUnsupported) {
      GTEST_SKIP() << "this kernel has no IPv6: " << listener.error().message;
    }
    ASSERT_TRUE(listener) << listener.error().message;
    const uint16_t port = listener->LocalAddress()->port();
    TcpStream client =
        TcpStream::Connect(SocketAddress::Loopback(AddressFamily::kIpv4, port),
                           Soon())
            .value();
    TcpStream server = listener->Accept(Soon()).value();
    EXPECT_TRUE(server.PeerAddress()->IsMappedIpv4());
    ASSERT_TRUE(client.WriteAll("six", Soon()));
    EXPECT_EQ(ReadText(server, 3), "six");
  });
}

TEST_P(TcpTest, Ipv6LoopbackCarriesBytes) {
  Run([] {
    auto listener = TcpListener::Listen(
        SocketAddress::Loopback(AddressFamily::kIpv6, 0), {.ipv6_only = true});
    if (!listener) {
      GTEST_SKIP()
          << "the loopback interface has no ::1, so IPv6 is tested with mapped "
             "addresses only: "
          << listener.error().message;
    }
    TcpStream client =
        TcpStream::Connect(*listener->LocalAddress(), Soon()).value();
    TcpStream server = listener->Accept(Soon()).value();
    EXPECT_EQ(client.PeerAddress()->HostToString(), "::1");
    ASSERT_TRUE(client.WriteAll("six", Soon()));
    EXPECT_EQ(ReadText(server, 3), "six");
  });
}

// A socket may be made and used on kernel threads and on user threads in turn.
TEST(SocketMixedTest, KernelThreadTalksToUserThread) {
  RuntimeOptions options;
  options.cores = 1;
  options.pin = false;
  const auto runtime = Runtime::Create(std::move(options)).value();
  TcpListener listener =
      TcpListener::Listen(SocketAddress::Loopback(AddressFamily::kIpv4, 0))
          .value();
  std::thread client([address = *listener.LocalAddress()] {
    TcpStream stream = TcpStream::Connect(address, Soon()).value();
    for (int i = 0; i < 100; ++i) {
      ASSERT_TRUE(stream.WriteAll("ping", Soon()));
      ASSERT_EQ(ReadText(stream, 4), "pong");
    }
  });
  runtime->Run([&] {
    TcpStream stream = listener.Accept(Soon()).value();
    for (int i = 0; i < 100; ++i) {
      ASSERT_EQ(ReadText(stream, 4), "ping");
      ASSERT_TRUE(stream.WriteAll("pong", Soon()));
    }
  });
  client.join();
  listener.Close();
}

}  // namespace
}  // namespace yamanote
