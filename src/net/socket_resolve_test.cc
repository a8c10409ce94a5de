// socket_resolve_test.cc - lookups: answers, bounds, and giving up.

#include "net/socket_resolve.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <latch>
#include <semaphore>
#include <thread>

#include "net/socket_test_host.h"

namespace yamanote {
namespace {

using namespace std::chrono_literals;

class ResolveTest : public HostTest {};
INSTANTIATE_TEST_SUITE_P(Hosts, ResolveTest, testing::ValuesIn(kHosts), NameOf);

TEST_P(ResolveTest, NumericHostIsAnsweredAtOnce) {
  Run([] {
    // A deadline in the past shows that nothing is waited for.
    const auto answer = Resolve("::1", 80, {.deadline = FromNanos(0)});
    ASSERT_TRUE(answer) << answer.error().message;
    ASSERT_EQ(answer->size(), 1u);
    EXPECT_EQ(answer->front().ToString(), "[::1]:80");
  });
}

TEST_P(ResolveTest, LocalhostIsALoopbackAddress) {
  Run([] {
    const auto answer = Resolve("localhost", 80, Soon());
    ASSERT_TRUE(answer) << answer.error().message;
    ASSERT_FALSE(answer->empty());
    for (const SocketAddress& address : *answer) {
      EXPECT_EQ(address.port(), 80);
      EXPECT_TRUE(address.ToString() == "[::1]:80" ||
                  address.HostToString().starts_with("127."))
          << address.ToString();
    }
  });
}

TEST_P(ResolveTest, RefusesWhatCannotBeAName) {
  Run([] {
    EXPECT_EQ(Resolve("", 80).error().code, ErrorCode::kInvalidArgument);
    EXPECT_EQ(Resolve(std::string(254, 'x'), 80).error().code,
              ErrorCode::kInvalidArgument);
    EXPECT_EQ(Resolve(std::string_view("a\0b", 3), 80).error().code,
              ErrorCode::kInvalidArgument);
  });
}

// Lookups that block until the test lets them go.
struct Gate {
  std::counting_semaphore<> open{0};
  std::atomic<int> inside{0};
  std::atomic<int> most{0};
  std::atomic<int> done{0};

  net::ResolverPool::Lookup Lookup() {
    return [this](const std::string& host,
                  uint16_t port) -> net::ResolverPool::Addresses {
      const int now = ++inside;
      int seen = most;
      while (now > seen && !most.compare_exchange_weak(seen, now)) {
      }
      open.acquire();
      --inside;
      ++done;
      if (host == "unknown")
        return MakeError(ErrorCode::kNotFound, "no such name");
      return std::vector<SocketAddress>{
          SocketAddress::Loopback(AddressFamily::kIpv4, port)};
    };
  }
};

TEST_P(ResolveTest, LookupDoesNotHoldTheCore) {
  Run([this] {
    Gate gate;
    net::ResolverPool pool(gate.Lookup());
    net::ResolverPool::Addresses answer;
    {
      Fork caller(*this, [&] { answer = pool.Resolve("name", 7, Soon()); });
      // On one core this line runs only if the caller left it.
      while (gate.inside == 0) this_thread::yield();
      gate.open.release();
    }
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->front().port(), 7);
    gate.open.release();
    EXPECT_EQ(pool.Resolve("unknown", 7, Soon()).error().code,
              ErrorCode::kNotFound);
  });
}

TEST_P(ResolveTest, ThreadsAndQueueAreBounded) {
  Run([this] {
    Gate gate;
    constexpr int kAccepted =
        net::ResolverPool::kThreads + net::ResolverPool::kQueue;
    std::atomic<int> answered{0};
    {
      net::ResolverPool pool(gate.Lookup());
      {
        std::vector<Fork> callers;
        const auto ask = [&] {
          EXPECT_TRUE(pool.Resolve("name", 1, Soon()));
          ++answered;
        };
        // First those that occupy the threads, then those that fill the queue.
        for (size_t i = 0; i < net::ResolverPool::kThreads; ++i)
          callers.emplace_back(*this, ask);
        while (gate.inside < static_cast<int>(net::ResolverPool::kThreads))
          this_thread::yield();
        // A lookup that gives up at once stays in the queue: it fills it.
        for (size_t i = 0; i < net::ResolverPool::kQueue; ++i) {
          EXPECT_EQ(
              pool.Resolve("late", 1, {.deadline = FromNanos(0)}).error().code,
              ErrorCode::kDeadlineExceeded);
        }
        const auto refused = pool.Resolve("one more", 1, Soon());
        ASSERT_FALSE(refused);
        EXPECT_EQ(refused.error().code, ErrorCode::kResourceExhausted);
        EXPECT_NE(refused.error().message.find("64 lookups wait already"),
                  std::string::npos);
        gate.open.release(kAccepted);
      }
      EXPECT_EQ(answered, static_cast<int>(net::ResolverPool::kThreads));
      // The abandoned lookups end by themselves; the gate must outlive them.
      while (gate.done < kAccepted) this_thread::yield();
    }
    EXPECT_EQ(gate.most, static_cast<int>(net::ResolverPool::kThreads));
  });
}

TEST_P(ResolveTest, StopTokenEndsTheWait) {
  Run([this] {
    Gate gate;
    net::ResolverPool pool(gate.Lookup());
    std::stop_source source;
    ErrorCode code = ErrorCode::kInternal;
    {
      Fork caller(*this, [&] {
        code =
            pool.Resolve("name", 7, {.stop = source.get_token()}).error().code;
      });
      source.request_stop();
    }
    EXPECT_EQ(code, ErrorCode::kCancelled);
    gate.open.release();
    while (gate.done == 0) this_thread::yield();
  });
}

}  // namespace
}  // namespace yamanote
