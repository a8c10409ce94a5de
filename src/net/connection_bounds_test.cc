// connection_bounds_test.cc - what connections may take of memory, time and
// turns, and what they owe their peers when the server stops.

#include <array>

#include "net/connection_test_host.h"

namespace yamanote::net {
namespace {

using namespace std::chrono_literals;

// ---- Memory that connections share ------------------------------------------

class MemoryTest : public testing::Test {
 protected:
  static constexpr size_t kBudget = 1'000'000;
  static constexpr int kPeers = 20;

  struct Peer {
    std::unique_ptr<Connection> connection;
    std::unique_ptr<Client> client;
  };

  MemoryTest() {
    for (int i = 0; i < kPeers; ++i) peers_.push_back(Connect());
  }

  Peer Connect() {
    auto [client, server] = network_.Connect();
    Peer peer{std::make_unique<Connection>(host_, protocol_, limits_),
              std::make_unique<Client>(std::move(client))};
    EXPECT_TRUE(peer.connection->Open(std::move(server), 0, 1));
    return peer;
  }

  void Run() {
    bool more = true;
    while (more) {
      more = host_.RunOne();
      more |= network_.Step();
    }
    EXPECT_LE(memory_.used(), kBudget);
  }

  void CloseAll() {
    for (Peer& peer : peers_) peer.connection->Abort();
    Run();
    EXPECT_EQ(host_.closed, kPeers);
    EXPECT_EQ(memory_.used(), 0u);
  }

  // As another buffer would.
  void Spend(size_t bytes) {
    ASSERT_TRUE(memory_.TryTake(bytes + MemoryBudget::kFreeBytes));
  }
  void GiveBack(size_t bytes) {
    memory_.Give(bytes + MemoryBudget::kFreeBytes);
  }

  int CountReceived(const std::string& text) {
    return static_cast<int>(std::ranges::count_if(
        peers_,
        [&](const Peer& peer) { return peer.client->received == text; }));
  }

  MemoryBudget memory_{kBudget};
  LineProtocol protocol_;
  StreamLimits limits_{.max_request_bytes = 300'000,
                       .max_reply_bytes = 400'000,
                       .memory = &memory_};
  io::MemoryNetwork network_{{.buffer_bytes = 1000}};
  TestHost host_{network_};
  std::vector<Peer> peers_;
};

TEST_F(MemoryTest, ReadersThatTakeNothingExhaustTheBudgetAndNotTheMemory) {
  for (Peer& peer : peers_) {
    peer.client->reading = false;
    peer.client->Send("B\n");
  }
  Run();
  EXPECT_EQ(host_.handled, kPeers);
  // Another large reply finds no memory; small ones need none of it.
  EXPECT_GT(memory_.used(), kBudget / 2);
  Peer& small = peers_.back();
  for (Peer& peer : peers_) {
    peer.client->reading = true;
    if (&peer == &small) peer.client->OnEvents(0);
  }
  Run();
  EXPECT_EQ(small.client->received, "no room\n");
  small.client->Send("small\n");
  Run();
  EXPECT_EQ(small.client->received, "no room\n<small\n");
  // Those who got it read it all, and then there is room again.
  for (Peer& peer : peers_) peer.client->OnEvents(0);
  Run();
  const std::string large(TestHost::kLarge, 'b');
  // A reply grows to 262,144 bytes, 196,608 of them counted, and while it does
  // 65,536 more: five fit into the budget at the most.
  EXPECT_GE(CountReceived(large), 3);
  EXPECT_LE(CountReceived(large), 5);
  EXPECT_EQ(CountReceived(large) + CountReceived("no room\n"), kPeers - 1);
  EXPECT_EQ(memory_.used(), 0u);
  small.client->Send("B\n");
  Run();
  EXPECT_EQ(small.client->received, "no room\n<small\n" + large);
  CloseAll();
}

TEST_F(MemoryTest, UnfinishedRequestsAreRefusedAndSkippedWhenTheBudgetIsSpent) {
  // 90,000 bytes take 24,464 of the budget: some eight fit into the 200,000
  // left.
  Spend(kBudget - 200'000);
  const std::string request = "N90000:" + std::string(90'000 - 7, 'n');
  for (Peer& peer : peers_) peer.client->Send(request.substr(0, 89'000));
  Run();
  const int refused = CountReceived("E0\n");
  EXPECT_GE(refused, kPeers - 8);
  EXPECT_LE(refused, kPeers - 5);
  EXPECT_EQ(host_.counters().Get(Counter::kOverloaded),
            static_cast<uint64_t>(refused));
  // The refused ones stay in step, whatever was skipped. (Replies need room
  // too.)
  GiveBack(kBudget - 200'000);
  for (Peer& peer : peers_)
    peer.client->Send(request.substr(89'000) + "next\n");
  Run();
  EXPECT_EQ(CountReceived("E0\n<next\n"), refused);
  EXPECT_EQ(CountReceived("<" + request + "<next\n"), kPeers - refused);
  CloseAll();
}

// Where the request's length is not known there is no next one to go on with.
TEST_F(MemoryTest, ALineWithoutAnEndIsRefusedAndClosedWhenTheBudgetIsSpent) {
  Spend(kBudget);
  Peer& peer = peers_[0];
  peer.client->Send(std::string(100'000, 'x'), true);
  Run();
  EXPECT_EQ(peer.client->received, "E0\n");
  EXPECT_TRUE(peer.client->closed);
  EXPECT_EQ(host_.closed, 1);
  GiveBack(kBudget);
  CloseAll();
}

TEST_F(MemoryTest, ClosingGivesLargeBuffersBack) {
  for (Peer& peer : peers_) {
    peer.client->reading = false;
    peer.client->Send("B\nN90000:" + std::string(80'000, 'n'));
  }
  Run();
  EXPECT_GT(memory_.used(), 0u);
  CloseAll();
}

TEST(ReplyTest, WhatIsDiscardedNeedsNoMemory) {
  MemoryBudget memory(1 << 20);
  Reply reply(1 << 20, &memory);
  ASSERT_TRUE(reply.Append("earlier"));
  reply.Begin();
  ASSERT_TRUE(reply.Append(std::string(300'000, 'x')));
  EXPECT_GE(memory.used(), 300'000u - MemoryBudget::kFreeBytes);
  reply.Discard(3);
  EXPECT_EQ(memory.used(), 0u);
  EXPECT_EQ(reply.bytes().size(), 3u);
  EXPECT_EQ(reply.all_bytes().size(), 10u);
}

TEST(ReplyTest, WithoutMemoryTheFirst64KiBStillFit) {
  MemoryBudget memory(0);
  Reply reply(1 << 20, &memory);
  const std::string part(1024, 'x');
  for (int i = 0; i < 64; ++i) ASSERT_TRUE(reply.Append(part)) << i;
  EXPECT_FALSE(reply.Append("x"));
  EXPECT_EQ(reply.bytes().size(), 65536u);
}

// ---- Turns ------------------------------------------------------------------

class BoundsTest : public ConnectionTest {
 protected:
  uint64_t BytesIn() { return host_->counters().Get(Counter::kBytesIn); }

  // What the network does by itself, without the core's other work.
  void RunNetwork() {
    while (network_->Step()) {
    }
  }
};

TEST_F(BoundsTest, SkippedInputGivesWay) {
  Connect({.buffer_bytes = 1 << 20});
  client_->Send("S99999\n" + std::string(99'999, 's') + "a\n");
  RunNetwork();
  host_->RunOne();  // The request; now its bytes are thrown away.
  ASSERT_EQ(host_->queue.size(), 1u);
  EXPECT_LT(BytesIn(), 50'000u);
  Run();
  EXPECT_EQ(client_->received, "<S99999\n<a\n");
}

TEST_F(BoundsTest, LingeringGivesWay) {
  Connect({.buffer_bytes = 1 << 20});
  client_->Send("?" + std::string(500'000, 'x'), true);
  RunNetwork();
  EXPECT_EQ(host_->closed, 0);
  EXPECT_EQ(host_->queue.size(), 1u);
  int turns = 0;
  while (host_->RunOne()) ++turns;
  // 8 reads of 4 KiB in a turn.
  EXPECT_GE(turns, 500'000 / (8 * 4096));
  RunNetwork();
  EXPECT_EQ(client_->received, "E2\n");
  EXPECT_EQ(host_->closed, 1);
}

TEST_F(BoundsTest, ReadingALargeRequestGivesWay) {
  limits_.max_request_bytes = limits_.max_reply_bytes = 1 << 20;
  Connect({.buffer_bytes = 1 << 20});
  client_->Send(std::string(500'000, 'a') + "\n");
  uint64_t before = 0;
  int turns = 0;
  RunNetwork();
  while (host_->handled == 0) {
    EXPECT_LE(BytesIn() - before, Connection::kBytesPerTurn);
    before = BytesIn();
    ASSERT_TRUE(host_->RunOne());
    ++turns;
  }
  EXPECT_GE(turns, 500'000 / static_cast<int>(Connection::kBytesPerTurn));
  Run();
  EXPECT_EQ(client_->received.size(), 500'002u);
}

TEST_F(BoundsTest, SendingALargeReplyGivesWay) {
  limits_.max_reply_bytes = TestHost::kLarge;
  Connect({.buffer_bytes = 1 << 20});
  client_->Send("B\n");
  RunNetwork();
  host_->RunOne();  // The request and its first part.
  for (size_t sent = Connection::kBytesPerTurn; sent < TestHost::kLarge;
       sent += Connection::kBytesPerTurn) {
    RunNetwork();
    EXPECT_EQ(client_->received.size(), sent);
    ASSERT_EQ(host_->queue.size(), 1u);
    ASSERT_TRUE(host_->RunOne());
  }
  RunNetwork();
  EXPECT_EQ(client_->received, std::string(TestHost::kLarge, 'b'));
  EXPECT_TRUE(host_->queue.empty());
}

TEST_F(BoundsTest, WithoutThreadsALargeReplyIsSentInOneTurn) {
  limits_.max_reply_bytes = TestHost::kLarge;
  Connect({.buffer_bytes = 1 << 20});
  client_->Send("B\n");
  RunNetwork();
  host_->most_threads = 0;
  host_->RunOne();
  RunNetwork();
  EXPECT_EQ(client_->received, std::string(TestHost::kLarge, 'b'));
}

// ---- Time -------------------------------------------------------------------

TEST_F(BoundsTest, IdleTimeBeginsWhenTheReplyIsThere) {
  Connect();
  host_->long_time = 100s;  // Longer than the idle timeout of 60 s.
  client_->Send("Long\n");
  RunNetwork();
  connection_->Check();  // Too late for a connection that does nothing.
  Run();
  EXPECT_EQ(client_->received, "<Long\n");
  EXPECT_EQ(host_->closed, 0);
  EXPECT_GT(connection_->deadline(), network_->now() + 59s);
  network_->RunUntil(connection_->deadline());
  connection_->Check();
  EXPECT_EQ(host_->closed, 1);
}

TEST_F(BoundsTest, IdleTimeBeginsWhenABlockedReplyIsTaken) {
  Connect({.buffer_bytes = 10});
  limits_.idle_timeout = 5s;
  client_->reading = false;
  client_->Send("aaaaaaaaaaaa\n");
  Run();
  network_->RunUntil(network_->now() + 20s);  // Less than the send timeout.
  client_->reading = true;
  client_->OnEvents(0);
  Run();
  EXPECT_EQ(client_->received, "<aaaaaaaaaaaa\n");
  connection_->Check();
  EXPECT_EQ(host_->closed, 0);
  EXPECT_GT(connection_->deadline(), network_->now() + 4s);
}

// ---- The end ----------------------------------------------------------------

// Sent before the server stops, and nobody has read it yet.
TEST_F(BoundsTest, DrainingAnswersWhatTheKernelHolds) {
  Connect({.buffer_bytes = 1 << 20});
  host_->long_time = 1s;
  client_->Send("Long\n");
  RunNetwork();
  std::string late, refusals;
  for (int i = 0; i < 5000; ++i) {
    late += "late\n";
    refusals += "E3\n";
  }
  client_->Send(late);
  RunNetwork();
  ASSERT_EQ(BytesIn(), 5u);
  host_->drain = true;
  connection_->Check();
  Run();
  EXPECT_EQ(client_->received, "<Long\n" + refusals);
  EXPECT_TRUE(client_->closed);
  EXPECT_EQ(host_->counters().Get(Counter::kShutdown), 5000u);
}

// The edge of the bytes has not been reported when the server looks.
TEST_F(BoundsTest, DrainingLooksForWhatWasNotReported) {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    Connect({.seed = seed,
             .buffer_bytes = 200,
             .short_read = 0.5,
             .short_write = 0.5});
    std::string requests, refusals;
    for (int i = 0; i < 20; ++i) {
      requests += "request\n";
      refusals += "E3\n";
    }
    client_->Send(requests);
    const int steps = static_cast<int>(seed % 40);
    for (int i = 0; i < steps && network_->Step(); ++i) {
    }
    host_->drain = true;
    connection_->Check();
    Run();
    EXPECT_TRUE(client_->closed) << "seed " << seed;
    // Every answer is whole, and an answer of its own.
    const std::string& got = client_->received;
    const auto answers = std::ranges::count(got, '\n');
    EXPECT_TRUE(got.empty() || got.back() == '\n') << "seed " << seed;
    EXPECT_EQ(answers, host_->handled + static_cast<int>(host_->counters().Get(
                                            Counter::kShutdown)))
        << "seed " << seed;
    client_->Send("", true);
    Run();
    ASSERT_EQ(host_->closed, 1) << "seed " << seed;
    client_.reset();
  }
}

TEST_F(BoundsTest, AConnectionThatOpensWhileDrainingIsAnswered) {
  Connect();
  host_->drain = true;
  auto [client, server] = network_->Connect();
  Client late(std::move(client));
  late.Send("a\nb\n");
  RunNetwork();
  Connection second(*host_, protocol_, limits_);
  ASSERT_TRUE(second.Open(std::move(server), 0, 2));
  Run();
  EXPECT_EQ(late.received, "E3\nE3\n");
  EXPECT_TRUE(late.closed);
  second.Abort();
  connection_->Abort();
  Run();
  EXPECT_EQ(host_->closed, 2);
}

// What it sent already must not turn the refusal into a reset.
TEST_F(BoundsTest, ARefusedConnectionIsToldAndReadToItsEnd) {
  Connect({.buffer_bytes = 1 << 20});
  auto [client, server] = network_->Connect();
  Client refused(std::move(client));
  refused.Send(std::string(300'000, 'x'), true);
  RunNetwork();
  Connection second(*host_, protocol_, limits_);
  ASSERT_TRUE(
      second.Open(std::move(server), 0, 2, Connection::Welcome::kRefuse));
  Run();
  EXPECT_EQ(refused.received, "E0\n");
  EXPECT_TRUE(refused.closed);
  EXPECT_EQ(host_->closed, 1);
  EXPECT_EQ(host_->counters().Get(Counter::kRefusedConnections), 1u);
  EXPECT_EQ(host_->counters().Get(Counter::kAccepted), 1u);
  EXPECT_EQ(host_->handled, 0);
  connection_->Abort();
  Run();
}

}  // namespace
}  // namespace yamanote::net
