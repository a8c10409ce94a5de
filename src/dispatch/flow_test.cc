// flow_test.cc - connections run one request at a time, replies keep their order.

#include "dispatch/flow.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <deque>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

namespace yamanote::dispatch {
namespace {

TEST(FlowTest, EveryLegalTransition) {
  Flow flow;
  EXPECT_EQ(flow.State(), FlowState::kIdle);
  EXPECT_EQ(flow.Arrive(), FlowAction::kEnqueue);
  EXPECT_EQ(flow.State(), FlowState::kReady);
  EXPECT_EQ(flow.Arrive(), FlowAction::kNothing) << "it is queued already";
  EXPECT_EQ(flow.State(), FlowState::kReady);
  flow.Start();
  EXPECT_EQ(flow.State(), FlowState::kBusy);
  EXPECT_EQ(flow.Finish(), FlowAction::kNothing);
  EXPECT_EQ(flow.State(), FlowState::kIdle);

  flow.Arrive();
  flow.Start();
  EXPECT_EQ(flow.Arrive(), FlowAction::kNothing) << "its runner re-enqueues it";
  EXPECT_EQ(flow.State(), FlowState::kBusyReady);
  EXPECT_EQ(flow.Arrive(), FlowAction::kNothing);
  EXPECT_EQ(flow.Finish(), FlowAction::kEnqueue);
  EXPECT_EQ(flow.State(), FlowState::kReady);
}

TEST(FlowDeathTest, IllegalTransitionsAreBugs) {
  Flow idle;
  EXPECT_DEATH(idle.Start(), "not ready");
  EXPECT_DEATH(idle.Finish(), "not busy");
  Flow busy;
  busy.Arrive();
  busy.Start();
  EXPECT_DEATH(busy.Start(), "not ready");
}

TEST(ReplyQueueTest, RefusesWhenFullAndKeepsTheOrder) {
  ReplyQueue<int> queue(2);
  int reply = 1;
  EXPECT_EQ(queue.TryPush(reply), Pushed::kFirst);
  reply = 2;
  EXPECT_EQ(queue.TryPush(reply), Pushed::kQueued);
  reply = 3;
  EXPECT_EQ(queue.TryPush(reply), Pushed::kFull);
  std::vector<int> sent;
  const auto send = [&sent](int&& r) { sent.push_back(r); };
  EXPECT_EQ(queue.Drain(1, send), 1u);
  EXPECT_FALSE(queue.Empty());
  EXPECT_EQ(queue.TryPush(reply), Pushed::kQueued) << "there is room again";
  EXPECT_EQ(queue.Drain(10, send), 2u);
  EXPECT_TRUE(queue.Empty());
  EXPECT_EQ(queue.Drain(10, send), 0u);
  EXPECT_EQ(sent, (std::vector<int>{1, 2, 3}));
}

TEST(ReplyQueueTest, OnlyOneDrainsAtATime) {
  ReplyQueue<int> queue(4);
  int reply = 1;
  queue.TryPush(reply);
  queue.TryPush(reply);
  queue.Drain(1, [&](int&&) {
    EXPECT_EQ(
        queue.Drain(1, [](int&&) { ADD_FAILURE() << "a second one drains"; }),
        0u);
    // What is being sent may cause another reply.
    EXPECT_EQ(queue.TryPush(reply), Pushed::kQueued);
  });
}

TEST(ReplyQueueTest, ReleasesWhatItMovedOut) {
  ReplyQueue<std::shared_ptr<int>> queue(2);
  auto reply = std::make_shared<int>(1);
  const std::weak_ptr<int> watch = reply;
  queue.TryPush(reply);
  queue.Drain(1, [](std::shared_ptr<int>&& r) { r.reset(); });
  EXPECT_TRUE(watch.expired());
}

// Readers, runners and drainers on connections that are shared by all threads:
// no request is forgotten, none overtakes another of its connection, neither
// when it runs nor when its reply is sent.
TEST(FlowStressTest, RequestsOfAConnectionKeepTheirOrder) {
  constexpr int kRequests = 400;
  constexpr int kConnections = 3;
  struct Connection {
    Flow flow;
    base::SpinLock lock;
    std::deque<int> input;  // Guarded by lock.
    int last_run = -1;      // Guarded by flow: its runner alone.
    int last_sent = -1;     // Guarded by the reply queue's drain.
  };
  struct Reply {
    Connection* connection = nullptr;
    int request = 0;
  };
  std::array<Connection, kConnections> connections;
  base::SpinLock ready_lock;
  std::deque<Connection*> ready;  // Guarded by ready_lock.
  ReplyQueue<Reply> replies(2);
  std::atomic<int> sent{0};

  const auto enqueue = [&](Connection& c) {
    const std::lock_guard guard(ready_lock);
    ready.push_back(&c);
  };
  const auto drain = [&] {
    return replies.Drain(8, [&](Reply&& reply) {
      EXPECT_EQ(reply.request, reply.connection->last_sent + 1);
      reply.connection->last_sent = reply.request;
      sent.fetch_add(1);
    });
  };
  const auto run_one = [&] {
    Connection* c = nullptr;
    {
      const std::lock_guard guard(ready_lock);
      if (ready.empty()) return false;
      c = ready.front();
      ready.pop_front();
    }
    c->flow.Start();
    std::optional<int> request;
    bool more = false;
    {
      const std::lock_guard guard(c->lock);
      if (!c->input.empty()) {
        request = c->input.front();
        c->input.pop_front();
        more = !c->input.empty();
      }
    }
    if (request.has_value()) {
      EXPECT_EQ(*request, c->last_run + 1) << "a request overtook another";
      c->last_run = *request;
      Reply reply{c, *request};
      while (replies.TryPush(reply) == Pushed::kFull) {
        if (drain() == 0) std::this_thread::yield();
      }
    }
    if (more) c->flow.Arrive();
    if (c->flow.Finish() == FlowAction::kEnqueue) enqueue(*c);
    return true;
  };

  std::vector<std::thread> threads;
  for (int t = 0; t < kConnections; ++t) {  // Readers, one to a connection.
    threads.emplace_back([&, c = &connections[t]] {
      for (int i = 0; i < kRequests; ++i) {
        {
          const std::lock_guard guard(c->lock);
          c->input.push_back(i);
        }
        if (c->flow.Arrive() == FlowAction::kEnqueue) enqueue(*c);
      }
    });
  }
  for (int t = 0; t < 2; ++t) {  // Runners, which also send.
    threads.emplace_back([&] {
      while (sent.load() < kRequests * kConnections) {
        if (!run_one() && drain() == 0) std::this_thread::yield();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (Connection& c : connections) {
    EXPECT_EQ(c.last_sent, kRequests - 1);
    EXPECT_EQ(c.flow.State(), FlowState::kIdle);
  }
}

}  // namespace
}  // namespace yamanote::dispatch
