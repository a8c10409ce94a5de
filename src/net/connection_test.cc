// connection_test.cc - a connection's turns, well and ill behaved peers.

#include "net/connection.h"

#include <string>

#include "base/random.h"
#include "net/connection_test_host.h"

namespace yamanote::net {
namespace {

using namespace std::chrono_literals;

TEST_F(ConnectionTest, ARequestIsAnswered) {
  Connect();
  client_->Send("hello\n");
  Run();
  EXPECT_EQ(client_->received, "<hello\n");
}

TEST_F(ConnectionTest, RepliesMayLeaveThroughTheHomeCore) {
  Connect();
  host_->home_replies = true;
  client_->Send("a\nb\nc\n", true);
  Run();
  EXPECT_EQ(client_->received, "<a\n<b\n<c\n");
  EXPECT_EQ(host_->closed, 1);
}

TEST_F(ConnectionTest, PipelinedRequestsShareATurn) {
  Connect();
  client_->Send("a\nb\nLc\n");
  while (network_->Step()) {
  }
  host_->RunOne();
  EXPECT_EQ(host_->handled, 3);
}

// Where others wait, only as many as are expected to end within 10 us: after two
// of 4 us each the third one is not.
TEST_F(ConnectionTest, PipelinedRequestsShareAShortTurnIfOthersWait) {
  Connect();
  host_->long_time = 4us;
  client_->Send("L\nL\nL\nL\nL\n");
  while (network_->Step()) {
  }
  Connection closed(*host_, protocol_, limits_);  // Somebody else in the queue.
  host_->queue.push_back({&Connection::Abort, &closed});
  host_->RunOne();
  EXPECT_EQ(host_->handled, 2);
  host_->RunOne();
  host_->queue.push_back({&Connection::Abort, &closed});
  host_->RunOne();
  EXPECT_EQ(host_->handled, 4);
  Run();  // While `closed` is there.
}

// Nothing is known about a request of another class.
TEST_F(ConnectionTest, ATurnKeepsToOneClassIfOthersWait) {
  Connect();
  client_->Send("a\nb\nL\n");
  while (network_->Step()) {
  }
  Connection closed(*host_, protocol_, limits_);
  host_->queue.push_back({&Connection::Abort, &closed});
  host_->RunOne();
  EXPECT_EQ(host_->handled, 2);
  Run();  // While `closed` is there.
}

// The bytes behind a request that runs stay where the client is slowed by them.
TEST_F(ConnectionTest, ABusyConnectionIsNotRead) {
  Connect({.buffer_bytes = 4096});
  client_->Send("first\n");
  while (network_->Step()) {
  }
  ASSERT_EQ(host_->queue.size(), 1u);
  client_->Send(std::string(100, 'x') + "\n");
  while (network_->Step()) {
  }
  EXPECT_EQ(host_->counters().Get(Counter::kBytesIn), 6u);
  Run();
  EXPECT_EQ(host_->handled, 2);
}

TEST_F(ConnectionTest, AReaderThatStopsTakesNoMoreRequests) {
  Connect({.buffer_bytes = 1000});
  client_->reading = false;
  std::string requests;
  for (int i = 0; i < 100; ++i) requests += std::string(99, 'r') + "\n";
  client_->Send(requests, true);
  Run();
  const int handled = host_->handled;
  EXPECT_LT(handled, 50);
  client_->reading = true;
  client_->OnEvents(0);
  Run();
  EXPECT_EQ(host_->handled, 100);
  EXPECT_EQ(client_->received.size(), 100u * 101);
  EXPECT_TRUE(client_->closed);
}

TEST_F(ConnectionTest, AReaderThatStaysAwayIsClosedByTheSendTimeout) {
  Connect({.buffer_bytes = 10});
  client_->reading = false;
  client_->Send("aaaaaaaaaaaa\nbbbbbb\n");
  Run();
  // Counted from when the buffer was full, some hops ago.
  EXPECT_LE(connection_->deadline(), network_->now() + 30s);
  EXPECT_GT(connection_->deadline(), network_->now() + 29s);
  network_->RunUntil(connection_->deadline());
  connection_->Check();
  EXPECT_EQ(host_->closed, 1);
  EXPECT_EQ(host_->counters().Get(Counter::kTimedOut), 1u);
}

TEST_F(ConnectionTest, OneByteASecondIsClosedByTheRequestTimeout) {
  Connect();
  const Instant begin = network_->now();
  for (int second = 0; second < 20 && host_->closed == 0; ++second) {
    client_->Send("x");
    Run();
    network_->RunUntil(begin + (second + 1) * 1s);
    if (connection_->deadline() <= network_->now()) connection_->Check();
  }
  EXPECT_EQ(host_->closed, 1);
  // Its first byte took the latency of 10 us, so the look at 10 s is too early.
  EXPECT_EQ(network_->now(), begin + 11s);
}

TEST_F(ConnectionTest, AnEarlyLookDoesNothing) {
  Connect();
  connection_->Check();
  Run();
  EXPECT_EQ(host_->closed, 0);
}

TEST_F(ConnectionTest, OverTheLimitTheProtocolRefuses) {
  Connect();
  host_->limit = 0;
  client_->Send("a\nb\n");
  Run();
  EXPECT_EQ(client_->received, "E0\nE0\n");
}

TEST_F(ConnectionTest, WithoutThreadsTheProtocolRefuses) {
  Connect();
  host_->most_threads = 0;
  client_->Send("a\n");
  Run();
  EXPECT_EQ(client_->received, "E0\n");
  EXPECT_EQ(host_->inside, 0);
}

// Input that is refused as fast as it comes must not keep the core.
TEST_F(ConnectionTest, AFloodOfRefusalsGivesWay) {
  Connect({.buffer_bytes = 1 << 20});
  host_->limit = 0;
  std::string requests;
  for (int i = 0; i < 100'000; ++i) requests += "a\n";
  client_->Send(requests);
  while (network_->Step()) {
  }
  EXPECT_EQ(host_->queue.size(), 1u);
  Run();
  EXPECT_EQ(client_->received.size(), 300'000u);
}

TEST_F(ConnectionTest, AnAbortWaitsForTheRunningRequest) {
  Connect();
  client_->Send("a\n");
  while (network_->Step()) {
  }
  connection_->Abort();
  EXPECT_EQ(host_->closed, 0);
  host_->RunOne();
  EXPECT_EQ(host_->closed, 1);
}

TEST_F(ConnectionTest, DrainingClosesIdleConnectionsOnceThePeerHasSeenIt) {
  Connect();
  client_->Send("a\n");
  Run();
  host_->drain = true;
  connection_->Check();
  Run();
  EXPECT_TRUE(client_->closed);
  EXPECT_EQ(host_->closed, 0);  // Lingers, in case the peer sends.
  client_->Send("", true);
  Run();
  EXPECT_EQ(host_->closed, 1);
}

TEST_F(ConnectionTest, ALingeringConnectionEndsBySilenceToo) {
  Connect();
  host_->drain = true;
  connection_->Check();
  Run();
  network_->RunUntil(connection_->deadline());
  connection_->Check();
  EXPECT_EQ(host_->closed, 1);
  EXPECT_EQ(host_->counters().Get(Counter::kTimedOut), 0u);
}

TEST_F(ConnectionTest, AClosedConnectionTakesSignalsAndOpensAgain) {
  Connect();
  client_->Send("a\n", true);
  Run();
  ASSERT_EQ(host_->closed, 1);
  connection_->Check();
  connection_->Abort();
  auto [client, server] = network_->Connect();
  client_ = std::make_unique<Client>(std::move(client));
  ASSERT_TRUE(connection_->Open(std::move(server), 0, 2));
  client_->Send("b\n", true);
  Run();
  EXPECT_EQ(client_->received, "<b\n");
  EXPECT_EQ(host_->closed, 2);
}

// Short reads and writes, refusals to move bytes, and queues of every kind of
// length: whatever happens, all is answered, in order, and the connection ends.
TEST_F(ConnectionTest, FaultsLoseNothing) {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    base::Random random(seed);
    Connect({.seed = seed,
             .buffer_bytes = 1 + static_cast<size_t>(random.Uniform() * 500),
             .short_read = 0.5,
             .short_write = 0.5,
             .would_block = 0.3});
    host_->home_replies = seed % 2 == 0;
    std::string requests, expected;
    for (int i = 0; i < 100; ++i) {
      const std::string line =
          std::to_string(i) +
          std::string(static_cast<size_t>(random.Uniform() * 60), '.') + "\n";
      requests += line;
      expected += "<" + line;
    }
    client_->Send(requests, true);
    Run();
    ASSERT_EQ(client_->received, expected) << "seed " << seed;
    ASSERT_EQ(host_->closed, 1) << "seed " << seed;
    ASSERT_EQ(host_->inside, 0) << "seed " << seed;
    client_.reset();
  }
}

TEST_F(ConnectionTest, ResetsCloseAndReleaseEverything) {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    Connect({.seed = seed, .short_write = 0.5, .reset = 0.05});
    std::string requests;
    for (int i = 0; i < 100; ++i) requests += "request\n";
    client_->Send(requests, true);
    Run();
    ASSERT_EQ(host_->closed, 1) << "seed " << seed;
    ASSERT_EQ(host_->inside, 0) << "seed " << seed;
    client_.reset();
  }
}

}  // namespace
}  // namespace yamanote::net
