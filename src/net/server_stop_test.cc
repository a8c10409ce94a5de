// server_stop_test.cc - what clients are owed when a server stops, and what
// those get that it does not take in.

#include <arpa/inet.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>

#include <algorithm>
#include <thread>
#include <vector>

#include "net/server_test_host.h"

namespace yamanote::net {
namespace {

// Waits until everything that was sent is in the server's kernel buffer. False
// if the connection was reset before.
bool HasArrived(int fd) {
  int queued = 0;
  bool reset = false;
  const bool ended = Eventually([&] {
    pollfd error{.fd = fd, .events = 0, .revents = 0};
    reset = poll(&error, 1, 0) == 1;
    return reset || (ioctl(fd, SIOCOUTQ, &queued) == 0 && queued == 0);
  });
  EXPECT_TRUE(ended);
  return !reset;
}

// What one client saw of a server that stops under it.
struct Seen {
  int sent = 0;
  int sent_before = 0;  // Of them: had arrived before Stop() was called.
  int results = 0;
  int refusals = 0;
  bool in_order = true;  // Answers to the first requests, each at its place.
  bool reset = false;    // Instead of an end of the stream.

  int answers() const { return results + refusals; }
};

// Takes answers until as many came as were sent. Returns false at the end.
bool TakeAnswers(int fd, std::string& rest, Seen& seen) {
  while (seen.answers() < seen.sent) {
    char part[4096];
    const ssize_t n = recv(fd, part, sizeof(part), 0);
    if (n <= 0) {
      seen.reset = n < 0;
      return false;
    }
    rest.append(part, static_cast<size_t>(n));
    for (size_t end; (end = rest.find('\n')) != std::string::npos;
         rest.erase(0, end + 1)) {
      const std::string line = rest.substr(0, end);
      const bool refused = line == "E3";
      if (!refused && line != "<" + std::to_string(seen.answers()))
        seen.in_order = false;
      ++(refused ? seen.refusals : seen.results);
    }
  }
  return true;
}

class StopTest : public ServerTest {
 protected:
  // Sends `batch` requests at once, again and again, until the stream ends.
  Seen SendBatches(int batch) {
    Seen seen;
    TestClient client = Tcp();
    connected_.fetch_add(1);
    std::string rest;
    do {
      std::string requests;
      for (int i = 0; i < batch; ++i)
        requests += std::to_string(seen.sent + i) + "\n";
      if (!client.Send(requests)) break;  // Our end is closed already.
      seen.sent += batch;
      if (HasArrived(client.fd()) && !stopping_) seen.sent_before = seen.sent;
    } while (TakeAnswers(client.fd(), rest, seen));
    return seen;
  }

  // One request on a connection of its own, again and again, until that fails.
  // Returns those that were in the server's hands and got no answer.
  int ConnectAgainAndAgain() {
    int lost = 0;
    for (;;) {
      const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      const timeval limit{.tv_sec = 10, .tv_usec = 0};
      setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
      sockaddr_storage storage{};
      const socklen_t size =
          io::ToSockaddr(server_->tcp_addresses()[0], storage);
      if (connect(fd, reinterpret_cast<const sockaddr*>(&storage), size) != 0) {
        close(fd);
        return lost;
      }
      Seen seen{.sent = 1};
      std::string rest;
      const bool owed =
          send(fd, "0\n", 2, MSG_NOSIGNAL) == 2 && HasArrived(fd) && !stopping_;
      TakeAnswers(fd, rest, seen);
      results_.fetch_add(static_cast<uint64_t>(seen.results));
      if (owed && seen.answers() == 0) ++lost;
      close(fd);
    }
  }

  std::atomic<bool> stopping_{false};
  std::atomic<unsigned> connected_{0};
  std::atomic<uint64_t> results_{0};
};

// Whatever had arrived when Stop() was called is answered, to the last request.
TEST_F(StopTest, WhatHasArrivedIsAnswered) {
  for (const char* preset : {"yamanote", "zygos", "ix"}) {
    StartWith(preset);
    constexpr int kClients = 30;
    constexpr int kRequests = 500;
    std::vector<std::unique_ptr<TestClient>> clients;
    for (int c = 0; c < kClients; ++c) {
      // Connected late: some are not accepted yet when Stop() begins.
      clients.push_back(std::make_unique<TestClient>(
          server_->tcp_addresses()[0], SOCK_STREAM));
      std::string requests;
      for (int i = 0; i < kRequests; ++i) requests += std::to_string(i) + "\n";
      ASSERT_TRUE(clients.back()->Send(requests));
    }
    for (auto& client : clients) ASSERT_TRUE(HasArrived(client->fd()));
    std::jthread stopper([&] { server_->Stop(); });
    int results = 0;
    for (auto& client : clients) {
      Seen seen{.sent = kRequests};
      std::string rest;
      EXPECT_TRUE(TakeAnswers(client->fd(), rest, seen));
      EXPECT_TRUE(seen.in_order);
      EXPECT_EQ(client->ReceiveAll(), "");  // And then an end, not a reset.
      client->EndOutput();
      results += seen.results;
    }
    stopper.join();
    const ServerStats stats = server_->stats();
    EXPECT_EQ(stats.requests, static_cast<uint64_t>(results));
    EXPECT_EQ(stats.requests + stats.shutdown, uint64_t{kClients} * kRequests);
    clients.clear();
    server_.reset();
    runtime_.reset();
  }
}

// Clients that go on sending meanwhile: what they get no answer to was not run,
// and the stream ends in order.
TEST_F(StopTest, StoppingUnderLoadLosesNothingThatHadArrived) {
  constexpr unsigned kClients = 12;
  for (int round = 0; round < 10; ++round) {
    StartWith(round % 2 == 0 ? "yamanote" : "zygos");
    stopping_ = false;
    connected_ = 0;
    results_ = 0;
    std::vector<Seen> seen(kClients);
    int lost = 0;
    {
      std::vector<std::jthread> threads;
      for (unsigned c = 0; c < kClients; ++c) {
        threads.emplace_back(
            [&, c] { seen[c] = SendBatches(c % 2 == 0 ? 1 : 40); });
      }
      threads.emplace_back([&] { lost = ConnectAgainAndAgain(); });
      ASSERT_TRUE(Eventually([&] {
        return connected_ == kClients && server_->stats().requests > 1000 &&
               server_->stats().accepted > kClients + 10;
      }));
      stopping_ = true;
      server_->Stop();
    }
    uint64_t results = results_;
    for (const Seen& one : seen) {
      EXPECT_GE(one.answers(), one.sent_before);
      EXPECT_TRUE(one.in_order);
      EXPECT_FALSE(one.reset);
      results += static_cast<uint64_t>(one.results);
    }
    EXPECT_EQ(lost, 0);
    EXPECT_EQ(server_->stats().requests, results);  // What ran was answered.
    server_.reset();
    runtime_.reset();
  }
}

TEST_F(StopTest, DatagramsThatHaveArrivedAreAnswered) {
  for (int round = 0; round < 20; ++round) {
    StartWith("yamanote", {.tcp = false, .udp = true});
    TestClient client = Udp();
    constexpr int kRequests = 100;
    for (int i = 0; i < kRequests; ++i) ASSERT_TRUE(client.Send("d\n"));
    ASSERT_TRUE(HasArrived(client.fd()));
    server_->Stop();
    for (int i = 0; i < kRequests; ++i) {
      EXPECT_THAT(client.ReceiveDatagram(), testing::AnyOf("<d\n", "E3\n"))
          << i;
    }
    server_.reset();
    runtime_.reset();
  }
}

TEST_F(StopTest, TheAddressIsFreeWhileRequestsDrain) {
  StartWith("yamanote");
  TestClient client = Tcp();
  ASSERT_TRUE(client.Send("W1\n"));
  ASSERT_TRUE(Eventually([&] { return service_.waiting_ == 1; }));
  std::jthread stopper([&] { server_->Stop(); });
  sockaddr_storage storage{};
  const socklen_t size = io::ToSockaddr(server_->tcp_addresses()[0], storage);
  EXPECT_TRUE(Eventually([&] {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const bool refused =
        connect(fd, reinterpret_cast<const sockaddr*>(&storage), size) != 0 &&
        errno == ECONNREFUSED;
    close(fd);
    return refused;
  }));
  service_.go_ = true;
  EXPECT_EQ(client.ReceiveAll(), "<W1\n");
}

// ---- Connections and datagrams that are not taken in ------------------------

TEST_F(StopTest, ARefusalReachesAClientThatHasSentMuch) {
  StartWith("yamanote", {.max_connections = 1});
  TestClient first = Tcp();
  ASSERT_TRUE(first.Send("x\n"));
  ASSERT_EQ(first.Receive(3), "<x\n");
  for (int i = 0; i < 20; ++i) {
    TestClient refused = Tcp();
    ASSERT_TRUE(refused.Send(std::string(100'000, 'x')));
    EXPECT_EQ(refused.ReceiveAll(), "E0\n");
  }
  EXPECT_EQ(server_->stats().refused_connections, 20u);
  EXPECT_EQ(server_->stats().open, 1u);
  ASSERT_TRUE(first.Send("y\n"));
  EXPECT_EQ(first.Receive(3), "<y\n");
}

int CountOpenFiles() {
  int count = 0;
  for (int fd = 0; fd < 1024; ++fd) count += fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
  return count;
}

TEST_F(StopTest, TheReserveDescriptorIsOpenedAgainWhenThereAreSome) {
  StartWith("yamanote");
  const int clients[] = {socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0),
                         socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  sockaddr_storage storage{};
  const socklen_t size = io::ToSockaddr(server_->tcp_addresses()[0], storage);
  const auto* const address = reinterpret_cast<const sockaddr*>(&storage);
  const int before = CountOpenFiles();
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  const rlimit none{.rlim_cur = 3, .rlim_max = limit.rlim_max};
  setrlimit(RLIMIT_NOFILE, &none);
  EXPECT_EQ(connect(clients[0], address, size), 0);
  // Given up for a connection that could not be accepted even so.
  const bool lost = Eventually([&] { return CountOpenFiles() == before - 1; });
  setrlimit(RLIMIT_NOFILE, &limit);
  EXPECT_TRUE(lost);
  EXPECT_TRUE(Eventually([&] { return server_->stats().accepted == 1; }));
  EXPECT_EQ(connect(clients[1], address, size), 0);
  EXPECT_TRUE(Eventually([&] { return server_->stats().accepted == 2; }));
  // Two connections more than before, and the reserve is back.
  EXPECT_EQ(CountOpenFiles(), before + 2);
  EXPECT_EQ(server_->stats().refused_connections, 0u);
  for (const int fd : clients) close(fd);
}

// Returns a datagram socket of 127.0.0.2 at `port`, or -1.
int BindUdp(uint16_t port) {
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1);
  if (bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) ==
      0)
    return fd;
  close(fd);
  return -1;
}

// A forged sender must not set two servers on each other.
TEST_F(StopTest, DatagramsFromServersPortsGetNoAnswer) {
  StartWith("yamanote", {.tcp = false, .udp = true});
  sockaddr_storage storage{};
  const socklen_t size = io::ToSockaddr(server_->udp_addresses()[0], storage);
  // Port 0: any. The low ones need a privilege; without it there is one case
  // less.
  const uint16_t own = server_->udp_addresses()[0].port();
  uint64_t dropped = 0;
  for (const uint16_t port : {own, uint16_t{53}, uint16_t{1023}, uint16_t{0}}) {
    const int fd = BindUdp(port);
    if (fd < 0 && port != own && port != 0) continue;
    ASSERT_GE(fd, 0) << port;
    const timeval limit{.tv_sec = 10, .tv_usec = 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    ASSERT_EQ(sendto(fd, "d\n", 2, 0,
                     reinterpret_cast<const sockaddr*>(&storage), size),
              2);
    if (port == 0) {
      char answer[8];
      EXPECT_EQ(recv(fd, answer, sizeof(answer), 0), 3);
    } else {
      ++dropped;
      EXPECT_TRUE(Eventually([&] {
        return server_->stats().dropped == dropped;
      })) << port;
    }
    close(fd);
  }
  EXPECT_EQ(server_->stats().requests, 1u);
}

}  // namespace
}  // namespace yamanote::net
