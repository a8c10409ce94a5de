// server_test.cc - a server over loopback, under every preset, with well and ill
// behaved clients: from tcp_listener.cc through host.cc to the service and back.

#include "yamanote/server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "io/udp_batch.h"
#include "net/server_test_host.h"
#include "net/tcp_listener.h"
#include "preempt/mechanism.h"

namespace yamanote::net {
namespace {

// ---- Under every preset -----------------------------------------------------

class EveryPresetTest : public ServerTest,
                        public testing::WithParamInterface<std::string> {};

TEST_P(EveryPresetTest, RepliesKeepTheOrderOfTheirRequests) {
  StartWith(GetParam());
  constexpr int kClients = 8;
  constexpr int kRequests = 300;
  std::vector<std::jthread> threads;
  for (int c = 0; c < kClients; ++c) {
    threads.emplace_back([&, c] {
      TestClient client = Tcp();
      std::string sent, expected;
      for (int i = 0; i < kRequests; ++i) {
        const std::string line = (i % 7 == 0 ? "L" : "") + std::to_string(c) +
                                 "-" + std::to_string(i) + "\n";
        sent += line;
        expected += "<" + line;
      }
      // Cut at odd places, so that turns end inside requests.
      for (size_t at = 0; at < sent.size(); at += 37) {
        ASSERT_TRUE(client.Send(std::string_view(sent).substr(at, 37)));
      }
      EXPECT_EQ(client.Receive(expected.size()), expected);
    });
  }
  threads.clear();
  EXPECT_EQ(server_->stats().requests, kClients * kRequests);
  EXPECT_EQ(server_->stats().replies, kClients * kRequests);
  server_->Stop();
  EXPECT_EQ(server_->stats().open, 0u);
}

TEST_P(EveryPresetTest, DatagramsAreAnswered) {
  StartWith(GetParam(), {.tcp = false, .udp = true});
  std::vector<std::jthread> threads;
  for (int c = 0; c < 4; ++c) {
    threads.emplace_back([&, c] {
      TestClient client = Udp();
      for (int burst = 0; burst < 20; ++burst) {
        std::vector<std::string> expected, got;
        for (int i = 0; i < 16; ++i) {
          const std::string line =
              std::to_string(c * 1000 + burst * 16 + i) + "\n";
          expected.push_back("<" + line);
          ASSERT_TRUE(client.Send(line));
        }
        for (int i = 0; i < 16; ++i) got.push_back(client.ReceiveDatagram());
        EXPECT_THAT(got, testing::UnorderedElementsAreArray(expected));
      }
    });
  }
  threads.clear();
  EXPECT_EQ(server_->stats().requests, 4u * 20 * 16);
}

TEST_P(EveryPresetTest, StoppingAnswersWhatRunsAndRefusesTheRest) {
  StartWith(GetParam());
  TestClient client = Tcp();
  TestClient idle = Tcp();
  ASSERT_TRUE(idle.Send("x\n"));
  ASSERT_EQ(idle.Receive(3), "<x\n");
  ASSERT_TRUE(client.Send("W1\nlate\n"));
  ASSERT_TRUE(Eventually([&] { return service_.waiting_ == 1; }));
  std::jthread stopper([&] { server_->Stop(); });
  // Closed at once: so the server is stopping.
  EXPECT_EQ(idle.ReceiveAll(), "");
  idle.EndOutput();
  service_.go_ = true;
  EXPECT_EQ(client.ReceiveAll(), "<W1\nE3\n");
  client.EndOutput();
  stopper.join();
  EXPECT_EQ(server_->stats().shutdown, 1u);
  EXPECT_EQ(server_->stats().open, 0u);
}

std::vector<std::string> PresetNames() {
  std::vector<std::string> names;
  for (const PresetInfo& preset : Presets()) names.emplace_back(preset.name);
  return names;
}

INSTANTIATE_TEST_SUITE_P(Presets, EveryPresetTest,
                         testing::ValuesIn(PresetNames()),
                         [](const auto& preset) {
                           std::string name = preset.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

// A request that never gives way holds up neither the input nor the replies of the
// connections whose home is its core, though no other core is ever idle. (With
// partitioned placement it does, and with tq, which steals no work, it may.)
class SharingPresetTest : public ServerTest,
                          public testing::WithParamInterface<std::string> {};

TEST_P(SharingPresetTest, ATaskThatHoldsItsCoreDelaysNobody) {
  StartWith(GetParam());
  std::atomic<bool> done{false};
  std::vector<Thread> busy;
  for (int i = 0; i < 2; ++i) {
    busy.emplace_back([&] {
      while (!done) this_thread::yield();
    });
  }
  TestClient holder = Tcp();
  ASSERT_TRUE(holder.Send("H\n"));
  ASSERT_TRUE(Eventually([&] { return service_.waiting_ == 1; }));
  // Homes are given in turn, so both cores have some of them.
  for (int i = 0; i < 4; ++i) {
    TestClient other = Tcp();
    ASSERT_TRUE(other.Send("x\n"));
    EXPECT_EQ(other.Receive(3), "<x\n") << i;
  }
  service_.go_ = true;
  EXPECT_EQ(holder.Receive(3), "<H\n");
  done = true;
  for (Thread& thread : busy) thread.join();
}

INSTANTIATE_TEST_SUITE_P(Presets, SharingPresetTest,
                         testing::Values("zygos", "shenango", "yamanote",
                                         "shinjuku", "concord", "skyloft-cfs",
                                         "skyloft-eevdf", "persephone"));

// ---- Start and stop ---------------------------------------------------------

TEST_F(ServerTest, InitialisesTheServiceOnceAndOnEachCore) {
  StartWith("yamanote");
  EXPECT_EQ(service_.cores_, 2u);
  EXPECT_EQ(service_.cores_seen_, 0b11u);
}

TEST_F(ServerTest, AServiceThatCannotStartIsAnError) {
  runtime_ = *Runtime::Create(
      {.cores = 1, .pin = false, .preemption = Mechanism::kNone});
  service_.init_result = MakeError(ErrorCode::kInternal, "no data");
  const auto server = Server::Start(
      {.listen = {SocketAddress::Loopback(AddressFamily::kIpv4, 0)}}, protocol_,
      service_);
  ASSERT_FALSE(server);
  EXPECT_EQ(server.error().message, "no data");
}

TEST_F(ServerTest, WrongOptionsNameTheOption) {
  runtime_ = *Runtime::Create(
      {.cores = 1, .pin = false, .preemption = Mechanism::kNone});
  const auto message = [&](ServerOptions options) {
    const auto server = Server::Start(std::move(options), protocol_, service_);
    return server ? std::string() : server.error().message;
  };
  const std::vector<SocketAddress> any = {
      SocketAddress::Loopback(AddressFamily::kIpv4, 0)};
  EXPECT_THAT(message({}), testing::HasSubstr("listen"));
  EXPECT_THAT(message({.listen = any, .tcp = false}),
              testing::HasSubstr("tcp and udp"));
  EXPECT_THAT(message({.listen = any, .max_connections = 0}),
              testing::HasSubstr("max_connections = 0 must be 1 .. 1048576"));
  EXPECT_THAT(
      message({.listen = any, .max_buffer_bytes = 1 << 20}),
      testing::HasSubstr("max_buffer_bytes = 1048576 must be 16777216 .. "));
  EXPECT_THAT(
      message({.listen = any, .max_udp_reply_bytes = 8}),
      testing::HasSubstr("max_udp_reply_bytes = 8 must be 256 .. 1073741824"));
  EXPECT_THAT(message({.listen = any, .idle_timeout = 0s}),
              testing::HasSubstr("idle_timeout"));
}

TEST_F(ServerTest, AnAddressInUseIsAnError) {
  StartWith("yamanote");
  server_->Stop();
  TestClient keeps =
      TestClient(SocketAddress::Loopback(AddressFamily::kIpv4, 1), SOCK_DGRAM);
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_storage storage{};
  socklen_t size =
      io::ToSockaddr(SocketAddress::Loopback(AddressFamily::kIpv4, 0), storage);
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&storage), size), 0);
  ASSERT_EQ(listen(fd, 1), 0);
  ASSERT_EQ(getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &size), 0);
  const auto server = Server::Start(
      {.listen = {io::FromSockaddr(storage, size)}}, protocol_, service_);
  ASSERT_FALSE(server);
  EXPECT_EQ(server.error().system_errno, EADDRINUSE);
  close(fd);
}

TEST_F(ServerTest, ARuntimeHasOneServerAtATimeAndAnotherAfterIt) {
  StartWith("yamanote");
  const ServerOptions options{
      .listen = {SocketAddress::Loopback(AddressFamily::kIpv6, 0)}};
  EXPECT_FALSE(Server::Start(options, protocol_, service_));
  server_.reset();
  auto second = Server::Start(options, protocol_, service_);
  ASSERT_TRUE(second) << second.error().message;
  TestClient client((*second)->tcp_addresses()[0], SOCK_STREAM);
  ASSERT_TRUE(client.Send("six\n"));
  EXPECT_EQ(client.Receive(5), "<six\n");
}

TEST_F(ServerTest, SeveralAddressesOfBothFamiliesAndTransports) {
  StartWith("zygos",
            {.listen = {SocketAddress::Loopback(AddressFamily::kIpv4, 0),
                        SocketAddress::Loopback(AddressFamily::kIpv6, 0)},
             .udp = true});
  ASSERT_EQ(server_->tcp_addresses().size(), 2u);
  // The same ports.
  EXPECT_EQ(server_->udp_addresses(), server_->tcp_addresses());
  for (const SocketAddress& address : server_->tcp_addresses()) {
    TestClient stream(address, SOCK_STREAM), datagram(address, SOCK_DGRAM);
    ASSERT_TRUE(stream.Send("s\n"));
    EXPECT_EQ(stream.Receive(3), "<s\n");
    ASSERT_TRUE(datagram.Send("d\n"));
    EXPECT_EQ(datagram.ReceiveDatagram(), "<d\n");
  }
}

TEST_F(ServerTest,
       AHandlerThatOutlivesTheDrainTimeoutIsWaitedForAndItsReplyDropped) {
  StartWith("yamanote", {.drain_timeout = 0s});
  TestClient client = Tcp();
  ASSERT_TRUE(client.Send("W1\n"));
  ASSERT_TRUE(Eventually([&] { return service_.waiting_ == 1; }));
  std::atomic<bool> stopped{false};
  std::jthread stopper([&] {
    server_->Stop();
    stopped = true;
  });
  EXPECT_FALSE(stopped);
  service_.go_ = true;
  stopper.join();
  EXPECT_EQ(server_->stats().open, 0u);
}

// ---- Ill behaved clients ----------------------------------------------------

TEST_F(ServerTest, MalformedInputIsAnsweredAndOthersAreNotDisturbed) {
  StartWith("yamanote");
  TestClient bad = Tcp(), worse = Tcp(), good = Tcp();
  ASSERT_TRUE(bad.Send("!what\nfine\n"));
  ASSERT_TRUE(worse.Send("ok\n?rubbish without an end"));
  ASSERT_TRUE(good.Send("hello\n"));
  EXPECT_EQ(bad.Receive(9), "E2\n<fine\n");
  EXPECT_EQ(worse.ReceiveAll(), "<ok\nE2\n");
  EXPECT_EQ(good.Receive(7), "<hello\n");
  EXPECT_EQ(server_->stats().malformed, 2u);
}

TEST_F(ServerTest, AnOversizedRequestIsRefusedAndTheRefusalArrives) {
  StartWith("yamanote", {.max_request_bytes = 10'000});
  TestClient client = Tcp();
  // More than the limit, so that the server closes with input unread.
  ASSERT_TRUE(client.Send(std::string(200'000, 'a')));
  EXPECT_EQ(client.Receive(3), "E1\n");
  EXPECT_EQ(server_->stats().too_large, 1u);
}

TEST_F(ServerTest, AHalfClosedClientIsAnsweredThenClosed) {
  StartWith("yamanote");
  TestClient client = Tcp();
  ASSERT_TRUE(client.Send("a\nb\nunfinished"));
  client.EndOutput();
  EXPECT_EQ(client.ReceiveAll(), "<a\n<b\n");
  EXPECT_TRUE(Eventually([&] { return server_->stats().open == 0; }));
  EXPECT_EQ(server_->stats().truncated, 1u);
}

TEST_F(ServerTest, KilledClientsLeaveNothingBehind) {
  StartWith("yamanote");
  for (int i = 0; i < 50; ++i) {
    TestClient idle = Tcp(), busy = Tcp(), flooded = Tcp(4096);
    ASSERT_TRUE(busy.Send("W1\nx\n"));
    ASSERT_TRUE(flooded.Send("B\nB\nB\nB\n"));
    idle.Kill();
    busy.Kill();
    flooded.Kill();
  }
  service_.go_ = true;
  EXPECT_TRUE(Eventually([&] { return server_->stats().open == 0; }));
  TestClient client = Tcp();
  ASSERT_TRUE(client.Send("alive\n"));
  EXPECT_EQ(client.Receive(7), "<alive\n");
}

TEST_F(ServerTest, ASlowReaderGetsEverythingAndDelaysNobody) {
  StartWith("ix");
  TestClient slow = Tcp(4096);
  std::string requests;
  for (int i = 0; i < 100; ++i) requests += "B\n";
  ASSERT_TRUE(slow.Send(requests));
  for (int i = 0; i < 20; ++i) {  // On both cores.
    TestClient other = Tcp();
    ASSERT_TRUE(other.Send("quick\n"));
    EXPECT_EQ(other.Receive(7), "<quick\n");
  }
  // Its requests wait for its reading.
  EXPECT_LT(server_->stats().requests, 120u);
  EXPECT_EQ(slow.Receive(100 * 100'000).size(), 100u * 100'000);
}

TEST_F(ServerTest, TimeoutsCloseIdleAndSlowClients) {
  StartWith("yamanote", {.idle_timeout = 200ms, .request_timeout = 100ms});
  TestClient idle = Tcp(), slow = Tcp();
  ASSERT_TRUE(slow.Send("never finis"));
  EXPECT_EQ(slow.ReceiveAll(), "");
  EXPECT_EQ(idle.ReceiveAll(), "");
  EXPECT_EQ(server_->stats().timed_out, 2u);
}

TEST_F(ServerTest, ConnectionsBeyondTheLimitAreRefusedInTheProtocolsWords) {
  StartWith("yamanote", {.max_connections = 2});
  TestClient first = Tcp(), second = Tcp();
  for (TestClient* client : {&first, &second}) {
    ASSERT_TRUE(client->Send("x\n"));
    ASSERT_EQ(client->Receive(3), "<x\n");
  }
  TestClient third = Tcp();
  EXPECT_EQ(third.ReceiveAll(), "E0\n");
  EXPECT_EQ(server_->stats().refused_connections, 1u);
  first.Kill();
  ASSERT_TRUE(Eventually([&] { return server_->stats().open == 1; }));
  TestClient fourth = Tcp();
  ASSERT_TRUE(fourth.Send("y\n"));
  EXPECT_EQ(fourth.Receive(3), "<y\n");
}

TEST_F(ServerTest, AFullClassIsRefusedAtOnceAndOthersAreNot) {
  StartWith("yamanote",
            {.udp = true,
             .classes = {{.name = "short", .limit = 1}, {.name = "long"}}});
  TestClient holder = Tcp(), refused = Tcp(), other = Tcp(), datagram = Udp();
  ASSERT_TRUE(holder.Send("W1\n"));
  ASSERT_TRUE(Eventually([&] { return service_.waiting_ == 1; }));
  ASSERT_TRUE(refused.Send("short\nLong\n"));
  EXPECT_EQ(refused.Receive(9), "E0\n<Long\n");
  ASSERT_TRUE(other.Send("Long\n"));
  EXPECT_EQ(other.Receive(6), "<Long\n");
  ASSERT_TRUE(datagram.Send("short\n"));
  EXPECT_EQ(datagram.ReceiveDatagram(), "E0\n");
  EXPECT_EQ(server_->stats().overloaded, 2u);
  service_.go_ = true;
  EXPECT_EQ(holder.Receive(4), "<W1\n");
}

TEST_F(ServerTest, DatagramsThatAreNoRequestsAreRefused) {
  StartWith("yamanote", {.tcp = false, .udp = true, .max_datagram_bytes = 100});
  TestClient client = Udp();
  ASSERT_TRUE(client.Send("no end of line"));
  EXPECT_EQ(client.ReceiveDatagram(), "E2\n");
  ASSERT_TRUE(client.Send(std::string(200, 'x') + "\n"));
  EXPECT_EQ(client.ReceiveDatagram(), "E1\n");
  ASSERT_TRUE(client.Send(""));
  EXPECT_EQ(client.ReceiveDatagram(), "E2\n");
  ASSERT_TRUE(client.Send("good\n"));
  EXPECT_EQ(client.ReceiveDatagram(), "<good\n");
}

// 'B' asks for 100,000 bytes, which suit TCP.
TEST_F(ServerTest, RepliesOverUdpHaveALimitOfTheirOwn) {
  StartWith("yamanote", {.udp = true, .max_udp_reply_bytes = 99'999});
  TestClient datagrams = Udp();
  ASSERT_TRUE(datagrams.Send("B\n"));
  EXPECT_EQ(datagrams.ReceiveDatagram(), "too large\n");
  TestClient stream = Tcp();
  ASSERT_TRUE(stream.Send("B\n"));
  EXPECT_EQ(stream.Receive(100'000), std::string(100'000, 'b'));
}

// With a socket for each core the kernel would give each server half of the peers.
TEST_F(ServerTest, AnotherServersUdpPortIsRefusedWhereCoresHaveTheirOwnSocket) {
  const auto others =
      io::OpenUdp(SocketAddress::Loopback(AddressFamily::kIpv4, 0),
                  io::PortSharing::kShared, 1 << 16);
  ASSERT_TRUE(others);
  RuntimeOptions runtime{
      .cores = 2, .pin = false, .preemption = Mechanism::kNone};
  runtime.scheduling = *FindPreset("zygos");
  runtime_ = Runtime::Create(runtime).value();
  const auto server = Server::Start(
      {.listen = {BoundAddress(*others)}, .tcp = false, .udp = true}, protocol_,
      service_);
  close(*others);
  ASSERT_FALSE(server);
  EXPECT_THAT(server.error().message, testing::HasSubstr("listen on udp"));
}

TEST_F(ServerTest, AServiceMayCloseTheConnection) {
  StartWith("yamanote");
  TestClient client = Tcp();
  ASSERT_TRUE(client.Send("a\nQuit\nb\n"));
  EXPECT_EQ(client.ReceiveAll(), "<a\n<Quit\n");
}

// As this one is compiled. Who has no slices, or says what ends them, is not told.
TEST_F(ServerTest, AProgramWithoutProbesIsToldThatItsSlicesDoNotEnd) {
  ASSERT_FALSE(preempt::ProgramHasProbes());
  const auto said = [&](const std::string& preset, Mechanism preemption) {
    RuntimeOptions options{.cores = 1, .pin = false, .preemption = preemption};
    options.scheduling = *FindPreset(preset);
    runtime_ = Runtime::Create(options).value();
    testing::internal::CaptureStderr();
    server_ =
        Server::Start(
            {.listen = {SocketAddress::Loopback(AddressFamily::kIpv4, 0)}},
            protocol_, service_)
            .value();
    std::string text = testing::internal::GetCapturedStderr();
    server_.reset();
    runtime_.reset();
    return text;
  };
  EXPECT_THAT(said("yamanote", Mechanism::kAuto),
              testing::AllOf(testing::HasSubstr("compiled without probes"),
                             testing::HasSubstr("yamanote_preemptible()"),
                             testing::HasSubstr("kNone")));
  EXPECT_EQ(said("yamanote", Mechanism::kProbe), "");
  EXPECT_EQ(said("yamanote", Mechanism::kNone), "");
  EXPECT_EQ(said("zygos", Mechanism::kAuto), "");
}

}  // namespace
}  // namespace yamanote::net
