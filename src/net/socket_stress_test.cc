// socket_stress_test.cc - many threads, both directions at once, and closing
// while others wait: what TSan and ASan should see.

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "net/socket_test_host.h"
#include "yamanote/socket.h"

namespace yamanote {
namespace {

using namespace std::chrono_literals;

class SocketStressTest : public HostTest {
 protected:
  // Kernel threads cost a megabyte and a context switch each: fewer of them.
  int Threads() const { return GetParam().cores == 0 ? 8 : 64; }

  static void Serve(TcpStream& stream) {
    std::array<std::byte, 64> buffer;
    for (;;) {
      const auto count = stream.Read(buffer, Soon());
      ASSERT_TRUE(count) << count.error().message;
      if (*count == 0) return;
      ASSERT_TRUE(stream.WriteAll(WriteBuffer(buffer).first(*count), Soon()));
    }
  }
};
INSTANTIATE_TEST_SUITE_P(Hosts, SocketStressTest, testing::ValuesIn(kHosts),
                         NameOf);

TEST_P(SocketStressTest, ManyThreadsEcho) {
  constexpr int kMessages = 50;
  Run([this] {
    TcpListener listener = Listen();
    std::atomic<int> echoed{0};
    {
      std::vector<Fork> threads;
      for (int i = 0; i < Threads(); ++i) {
        threads.emplace_back(*this, [&, i] {
          TcpStream stream =
              TcpStream::Connect(*listener.LocalAddress(), Soon()).value();
          for (int message = 0; message < kMessages; ++message) {
            const std::string sent =
                std::to_string(i) + ":" + std::to_string(message);
            std::string received(sent.size(), '\0');
            ASSERT_TRUE(stream.WriteAll(sent, Soon()));
            ASSERT_TRUE(stream.ReadFull(
                std::as_writable_bytes(std::span(received)), Soon()));
            ASSERT_EQ(received, sent);
            ++echoed;
          }
        });
      }
      for (int i = 0; i < Threads(); ++i) {
        auto accepted =
            std::make_shared<TcpStream>(listener.Accept(Soon()).value());
        threads.emplace_back(*this, [accepted] { Serve(*accepted); });
      }
    }
    EXPECT_EQ(echoed, Threads() * kMessages);
  });
}

TEST_P(SocketStressTest, OneReadsWhileAnotherWrites) {
  constexpr size_t kBytes = 4 * 1024 * 1024;
  Run([this] {
    Pair pair = Connect();
    std::vector<std::byte> sent(kBytes);
    for (size_t i = 0; i < kBytes; ++i)
      sent[i] = static_cast<std::byte>(i * 7 + i / 4096);
    std::vector<std::byte> at_server(kBytes), at_client(kBytes);
    {
      Fork a(*this, [&] { EXPECT_TRUE(pair.client.WriteAll(sent, Soon())); });
      Fork b(*this,
             [&] { EXPECT_TRUE(pair.client.ReadFull(at_client, Soon())); });
      Fork c(*this, [&] { EXPECT_TRUE(pair.server.WriteAll(sent, Soon())); });
      Fork d(*this,
             [&] { EXPECT_TRUE(pair.server.ReadFull(at_server, Soon())); });
    }
    EXPECT_TRUE(at_server == sent);
    EXPECT_TRUE(at_client == sent);
  });
}

// Several threads accept from one listener and receive from one socket; closing
// it ends them all.
TEST_P(SocketStressTest, SeveralThreadsShareASocket) {
  static constexpr int kReceivers = 4;
  static constexpr int kDatagrams = 200;
  Run([this] {
    UdpSocket socket =
        UdpSocket::Bind(SocketAddress::Loopback(AddressFamily::kIpv4, 0))
            .value();
    UdpSocket sender = UdpSocket::Connect(*socket.LocalAddress()).value();
    std::atomic<int> received{0};
    std::vector<Fork> receivers;
    for (int i = 0; i < kReceivers; ++i) {
      receivers.emplace_back(*this, [&] {
        std::array<std::byte, 8> buffer;
        for (;;) {
          const auto count = socket.Recv(buffer, Soon());
          if (!count) {
            EXPECT_EQ(count.error().code, ErrorCode::kClosed)
                << count.error().message;
            return;
          }
          ++received;
        }
      });
    }
    for (int i = 0; i < kDatagrams; ++i) {
      ASSERT_TRUE(sender.Send(std::as_bytes(std::span("x", 1)), Soon()));
      // One at a time, so that none overflows the socket's buffer and is lost.
      while (received <= i) this_thread::yield();
    }
    socket.Close();
    receivers.clear();
    EXPECT_EQ(received, kDatagrams);
  });
}

// Closes, cancels or lets time out a call at every possible moment of it.
TEST_P(SocketStressTest, EndsRaceWithArrivals) {
  const int rounds = GetParam().cores == 0 ? 200 : 1000;
  Run([this, rounds] {
    int outcomes[4] = {};
    for (int round = 0; round < rounds; ++round) {
      UdpSocket socket =
          UdpSocket::Bind(SocketAddress::Loopback(AddressFamily::kIpv4, 0))
              .value();
      UdpSocket sender = UdpSocket::Connect(*socket.LocalAddress()).value();
      std::stop_source source;
      Fork receiver(*this, [&, round] {
        std::array<std::byte, 8> buffer;
        const auto result = socket.Recv(
            buffer,
            {.deadline = DeadlineIn(round % 3 == 0 ? Duration(20us) : kHang),
             .stop = source.get_token()});
        if (result) {
          ++outcomes[0];
        } else if (result.error().code == ErrorCode::kDeadlineExceeded) {
          ++outcomes[1];
        } else if (result.error().code == ErrorCode::kCancelled) {
          ++outcomes[2];
        } else {
          EXPECT_EQ(result.error().code, ErrorCode::kClosed)
              << result.error().message;
          ++outcomes[3];
        }
      });
      if (round % 2 == 0) this_thread::yield();
      Fork stopper(*this, [&] { source.request_stop(); });
      if (round % 5 != 0) {
        const auto sent = sender.Send(std::as_bytes(std::span("x", 1)), Soon());
        EXPECT_TRUE(sent || sent.error().code == ErrorCode::kUnavailable);
      }
      socket.Close();
      receiver.Join();
      stopper.Join();
    }
    EXPECT_EQ(outcomes[0] + outcomes[1] + outcomes[2] + outcomes[3], rounds);
  });
}

}  // namespace
}  // namespace yamanote
