// connection_test_host.h - connections over a network in memory, in virtual
// time, by themselves: no kernel sockets and no runtime. For tests.

#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <string>

#include "io/memory.h"
#include "net/connection.h"
#include "net/line_protocol.h"

namespace yamanote::net {

using namespace std::chrono_literals;

// Runs requests when told to, in the order in which they were spawned. Answers
// "<" + request; "B..." with kLarge bytes, or "no room\n" if they do not fit;
// "L..." takes `long_time`.
class TestHost final : public ConnectionHost {
 public:
  static constexpr size_t kLarge = 200'000;

  explicit TestHost(io::MemoryNetwork& network) : network_(network) {}

  Counters& counters() override { return counters_; }
  Instant Now() override { return network_.now(); }
  Instant AboutNow() override { return network_.now(); }
  bool Admit(ClassId) override {
    if (inside >= limit) return false;
    ++inside;
    return true;
  }
  void Release(ClassId) override { --inside; }
  bool Spawn(Connection& connection) override {
    return Enqueue(&Connection::RunRequests, connection);
  }
  bool SpawnContinue(Connection& connection) override {
    return Enqueue(&Connection::Continue, connection);
  }
  bool NothingElseWaits() override { return queue.empty(); }
  Duration TurnTime() const override { return Connection::kTurnTime; }
  void Handle(const Request& request, Reply& reply) override {
    ++handled;
    const char kind = static_cast<char>(request.bytes[0]);
    if (kind == 'L') network_.RunUntil(network_.now() + long_time);
    if (kind == 'B') return HandleLarge(reply);
    reply.Append("<");
    reply.Append(request.bytes);
  }
  bool SendHome(Connection& connection) override {
    if (home_replies) queue.push_back({&Connection::Continue, &connection});
    return home_replies;
  }
  bool draining() const override { return drain; }
  void Closed(Connection&) override { ++closed; }

  bool RunOne() {
    if (queue.empty()) return false;
    const auto [function, connection] = queue.front();
    queue.pop_front();
    (connection->*function)();
    return true;
  }

  struct Work {
    void (Connection::*function)();
    Connection* connection;
  };
  std::deque<Work> queue;
  size_t most_threads = SIZE_MAX;
  int inside = 0;
  int limit = 1'000'000;
  int handled = 0;
  int closed = 0;
  bool drain = false;
  bool home_replies = false;
  Duration long_time{0};

 private:
  static void HandleLarge(Reply& reply) {
    for (size_t done = 0; done < kLarge; done += 1000) {
      if (reply.Append(std::string(1000, 'b'))) continue;
      reply.Discard();
      reply.Append("no room\n");
      return;
    }
  }

  bool Enqueue(void (Connection::*function)(), Connection& connection) {
    if (queue.size() >= most_threads) return false;
    queue.push_back({function, &connection});
    return true;
  }

  io::MemoryNetwork& network_;
  Counters counters_;
};

class Client final : public io::EventHandler {
 public:
  explicit Client(std::unique_ptr<io::ByteStream> stream)
      : stream_(std::move(stream)) {
    EXPECT_TRUE(stream_->Watch(*this));
  }
  ~Client() override { stream_->Unwatch(); }

  // Sends `text` as the network takes it.
  void Send(std::string_view text, bool end = false) {
    unsent_ += text;
    end_ |= end;
    Pump();
  }
  void OnEvents(uint32_t) override { Pump(); }

  std::string received;
  bool reading = true;
  bool closed = false;  // By the server.

 private:
  void Pump() {
    while (!unsent_.empty()) {
      const auto written = stream_->Write(std::as_bytes(std::span(unsent_)));
      if (written.status != io::Transfer::Status::kDone) break;
      unsent_.erase(0, written.bytes);
    }
    if (unsent_.empty() && end_ && !ended_) {
      stream_->ShutdownWrite();
      ended_ = true;
    }
    while (reading && !closed) {
      std::byte part[512];
      const auto read = stream_->Read(part);
      if (read.status == io::Transfer::Status::kWouldBlock) break;
      if (read.status == io::Transfer::Status::kDone) {
        received.append(reinterpret_cast<const char*>(part), read.bytes);
      } else {
        closed = true;
      }
    }
  }

  std::unique_ptr<io::ByteStream> stream_;
  std::string unsent_;
  bool end_ = false;
  bool ended_ = false;
};

class ConnectionTest : public testing::Test {
 protected:
  void Connect(io::MemoryOptions options = {}) {
    network_ = std::make_unique<io::MemoryNetwork>(options);
    host_ = std::make_unique<TestHost>(*network_);
    connection_ = std::make_unique<Connection>(*host_, protocol_, limits_);
    auto [client, server] = network_->Connect();
    client_ = std::make_unique<Client>(std::move(client));
    ASSERT_TRUE(connection_->Open(std::move(server), 0, 1));
  }
  void TearDown() override {
    if (connection_ != nullptr && host_->closed == 0) {
      connection_->Abort();
      Run();
      EXPECT_EQ(host_->closed, 1);
    }
    if (host_ != nullptr) {
      EXPECT_EQ(host_->inside, 0);
    }
  }

  // Everything that can happen without time passing unasked.
  void Run() {
    bool more = true;
    while (more) {
      more = host_->RunOne();
      more |= network_->Step();
    }
  }

  LineProtocol protocol_;
  StreamLimits limits_{.max_request_bytes = 8192,
                       .max_reply_bytes = 32768,
                       .idle_timeout = 60s,
                       .request_timeout = 10s,
                       .send_timeout = 30s};
  std::unique_ptr<io::MemoryNetwork> network_;
  std::unique_ptr<TestHost> host_;
  std::unique_ptr<Connection> connection_;
  std::unique_ptr<Client> client_;
};

}  // namespace yamanote::net
