// poller_test.cc - readiness, removal and wake-ups, the last two under stress.

#include "io/poller.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <memory>
#include <semaphore>
#include <thread>
#include <vector>

#include "base/cpu.h"

namespace yamanote::io {
namespace {

using namespace std::chrono_literals;

// Far beyond what any wait here takes; only a lost wake-up reaches it.
constexpr Duration kHang = 20s;

class EventFd {
 public:
  EventFd() : fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
  ~EventFd() { close(fd_); }
  EventFd(const EventFd&) = delete;
  EventFd& operator=(const EventFd&) = delete;
  int fd() const { return fd_; }
  void Signal() const {
    const uint64_t one = 1;
    ASSERT_EQ(write(fd_, &one, sizeof(one)), static_cast<ssize_t>(sizeof(one)));
  }

 private:
  const int fd_;
};

class Handler final : public EventHandler {
 public:
  explicit Handler(std::function<void(uint32_t)> on_events)
      : on_events_(std::move(on_events)) {}
  void OnEvents(uint32_t events) override { on_events_(events); }

 private:
  std::function<void(uint32_t)> on_events_;
};

TEST(PollerTest, EmptyPollReturnsAtOnce) {
  Poller poller;
  EXPECT_EQ(poller.Poll(0ns), 0);
}

TEST(PollerTest, ReportsReadinessToItsHandler) {
  Poller poller;
  EventFd source;
  uint32_t seen = 0;
  Handler handler([&](uint32_t events) { seen |= events; });
  ASSERT_TRUE(poller.Add(source.fd(), EPOLLIN | EPOLLET, handler));
  EXPECT_EQ(poller.Poll(0ns), 0);
  source.Signal();
  EXPECT_EQ(poller.Poll(kHang), 1);
  EXPECT_EQ(seen, uint32_t{EPOLLIN});
  EXPECT_EQ(poller.Poll(0ns), 0) << "edge-triggered: reported once";
  poller.Remove(source.fd(), handler);
}

TEST(PollerTest, HandlesAtMostABatchPerPoll) {
  Poller poller;
  std::vector<std::unique_ptr<EventFd>> sources;
  int calls = 0;
  Handler handler([&](uint32_t) { ++calls; });
  for (int i = 0; i < Poller::kBatch + 10; ++i) {
    sources.push_back(std::make_unique<EventFd>());
    ASSERT_TRUE(poller.Add(sources.back()->fd(), EPOLLIN | EPOLLET, handler));
    sources.back()->Signal();
  }
  EXPECT_EQ(poller.Poll(0ns), Poller::kBatch);
  EXPECT_EQ(poller.Poll(0ns), 10);
  EXPECT_EQ(calls, Poller::kBatch + 10);
  for (const auto& source : sources) poller.Remove(source->fd(), handler);
}

TEST(PollerTest, WaitEndsAtItsTimeAndNotBefore) {
  Poller poller;
  const Instant start = Clock::now();
  EXPECT_EQ(poller.Poll(2ms), 0);
  // Clock is calibrated to 10 ppm of the kernel's; 1 us is 500 ppm of 2 ms.
  EXPECT_GE(Clock::now() - start, 2ms - 1us);
}

TEST(PollerTest, WakeEndsTheNextWait) {
  Poller poller;
  poller.Wake();
  EXPECT_EQ(poller.Poll(0ns), 0)
      << "a poll that does not wait leaves the token";
  const Instant start = Clock::now();
  EXPECT_EQ(poller.Poll(kHang), 0);
  EXPECT_LT(Clock::now() - start, kHang / 2);
}

TEST(PollerTest, OneThreadPollsAtATime) {
  Poller poller;
  EventFd source;
  int inner = 0;
  Handler handler([&](uint32_t) {
    std::thread([&] { inner = poller.Poll(kHang); }).join();
  });
  ASSERT_TRUE(poller.Add(source.fd(), EPOLLIN | EPOLLET, handler));
  source.Signal();
  EXPECT_EQ(poller.Poll(0ns), 1);
  EXPECT_EQ(inner, Poller::kBusy);
  poller.Remove(source.fd(), handler);
}

TEST(PollerTest, AHandlerMayRemoveAnyHandlerOfTheSameBatch) {
  Poller poller;
  EventFd first, second;
  int calls = 0;
  std::unique_ptr<Handler> handlers[2];
  const auto remove_both = [&](uint32_t) {
    ++calls;
    poller.Remove(first.fd(), *handlers[0]);
    poller.Remove(second.fd(), *handlers[1]);
  };
  handlers[0] = std::make_unique<Handler>(remove_both);
  handlers[1] = std::make_unique<Handler>(remove_both);
  ASSERT_TRUE(poller.Add(first.fd(), EPOLLIN, *handlers[0]));
  ASSERT_TRUE(poller.Add(second.fd(), EPOLLIN, *handlers[1]));
  first.Signal();
  second.Signal();
  EXPECT_EQ(poller.Poll(0ns), 1);
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(poller.Poll(0ns), 0);
}

// An event of the old registration that was fetched in the same batch must not
// reach the new handler of the same descriptor.
TEST(PollerTest, StaleEventDoesNotReachTheNextHandlerOfTheDescriptor) {
  Poller poller;
  EventFd first, second;
  int stale = 0;
  Handler replacement([&](uint32_t) { ++stale; });
  Handler* handlers[2] = {};
  const int fds[2] = {first.fd(), second.fd()};
  const auto replace_other = [&](int other) {
    poller.Remove(fds[other], *handlers[other]);
    uint64_t value = 0;
    ASSERT_EQ(read(fds[other], &value, sizeof(value)),
              static_cast<ssize_t>(sizeof(value)));
    ASSERT_TRUE(poller.Add(fds[other], EPOLLIN, replacement));
    handlers[other] = &replacement;
  };
  Handler a([&](uint32_t) { replace_other(1); });
  Handler b([&](uint32_t) { replace_other(0); });
  handlers[0] = &a;
  handlers[1] = &b;
  ASSERT_TRUE(poller.Add(fds[0], EPOLLIN | EPOLLET, a));
  ASSERT_TRUE(poller.Add(fds[1], EPOLLIN | EPOLLET, b));
  first.Signal();
  second.Signal();
  EXPECT_EQ(poller.Poll(0ns), 1);
  EXPECT_EQ(poller.Poll(0ns), 0);
  EXPECT_EQ(stale, 0);
  for (int i = 0; i < 2; ++i) poller.Remove(fds[i], *handlers[i]);
}

TEST(PollerTest, ErrorsNameTheDescriptorAndTheRemedy) {
  Poller poller;
  EventFd source;
  Handler handler([](uint32_t) {});
  EXPECT_EQ(poller.Add(-1, EPOLLIN, handler).error().code,
            ErrorCode::kInvalidArgument);
  ASSERT_TRUE(poller.Add(source.fd(), EPOLLIN, handler));
  const auto twice = poller.Add(source.fd(), EPOLLIN, handler);
  ASSERT_FALSE(twice);
  EXPECT_EQ(twice.error().code, ErrorCode::kInvalidArgument);
  EXPECT_NE(twice.error().message.find(std::to_string(source.fd())),
            std::string::npos);
  const int file = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
  const auto refused = poller.Add(file, EPOLLIN, handler);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kUnsupported)
      << refused.error().message;
  close(file);
  poller.Remove(source.fd(), handler);
}

// A source that is drained by whoever is called, with a count of both calls.
class DrainingHandler final : public EventHandler {
 public:
  explicit DrainingHandler(const EventFd& source) : source_(source) {}
  void OnEvents(uint32_t) override {
    ++told;
    Drain();
  }
  bool Try() override {
    ++tries;
    return Drain();
  }
  int told = 0;
  int tries = 0;

 private:
  bool Drain() const {
    uint64_t value = 0;
    return read(source_.fd(), &value, sizeof(value)) > 0;
  }
  const EventFd& source_;
};

constexpr int kLooksPerAsk = 8;

// Looks at one instant: only the count bounds the tries.
constexpr Instant kThen = Instant{} + 1s;

// Has the poller try `source`, whose handler is `tried`.
void MakeHot(Poller& poller, const EventFd& source) {
  for (int i = 0; i < kLooksPerAsk; ++i) {
    source.Signal();
    EXPECT_EQ(poller.Look(kThen), 1) << "tried or told, each look sees it";
  }
}

// One that is tried, one that is asked for.
class TriedPollerTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(poller.Add(often.fd(), EPOLLIN, tried, Watching::kTried));
    ASSERT_TRUE(poller.Add(seldom.fd(), EPOLLIN, asked));
  }
  void TearDown() override {
    poller.Remove(often.fd(), tried);
    poller.Remove(seldom.fd(), asked);
  }

  Poller poller;
  EventFd often, seldom;
  DrainingHandler tried{often}, asked{seldom};
};

TEST_F(TriedPollerTest, TriesWhatIsOftenReadyAndStillAsksForTheOthers) {
  poller.Look(kThen);
  EXPECT_EQ(tried.tries, 0) << "nothing was ready yet: why try?";
  for (int i = 0; i < 4; ++i) MakeHot(poller, often);
  EXPECT_GT(tried.tries, 2 * kLooksPerAsk);
  EXPECT_GE(tried.told, 3);
  // Nothing at all: it goes on trying.
  const int before = tried.tries;
  for (int i = 0; i < kLooksPerAsk; ++i) EXPECT_EQ(poller.Look(kThen), 0);
  EXPECT_GE(tried.tries, before + kLooksPerAsk - 1);
  // The other is seen within a round, and then it is asked for by each call.
  seldom.Signal();
  for (int i = 0; i < kLooksPerAsk; ++i) poller.Look(kThen);
  EXPECT_EQ(asked.told, 1);
  seldom.Signal();
  EXPECT_EQ(poller.Look(kThen), 1);
  EXPECT_EQ(asked.told, 2);
  EXPECT_EQ(asked.tries, 0);
}

TEST_F(TriedPollerTest, TheOthersWaitForNoMoreThanThirtyMicroseconds) {
  Instant now = kThen;
  for (int i = 0; i < 4 * kLooksPerAsk; ++i) {
    MakeHot(poller, often);
    // A core that comes from a task: the first look asks.
    now += 30us;
    seldom.Signal();
    EXPECT_EQ(poller.Look(now), 1);
    EXPECT_EQ(asked.told, i + 1);
  }
}

TEST_F(TriedPollerTest, APollIsNeverATry) {
  for (const Duration wait : {Duration(0ns), Duration(kHang)}) {
    MakeHot(poller, often);
    poller.Look(kThen);
    seldom.Signal();
    asked.told = 0;
    EXPECT_EQ(poller.Poll(wait), 1);
    EXPECT_EQ(asked.told, 1);
  }
}

TEST_F(TriedPollerTest, WithNothingLeftToTryALookAsksAtOnce) {
  MakeHot(poller, often);
  poller.Remove(often.fd(), tried);
  const int calls = tried.tries + tried.told;
  often.Signal();
  seldom.Signal();
  EXPECT_EQ(poller.Look(kThen), 1);
  EXPECT_EQ(asked.told, 1);
  for (int i = 0; i < kLooksPerAsk; ++i) EXPECT_EQ(poller.Look(kThen), 0);
  EXPECT_EQ(tried.tries + tried.told, calls) << "it was removed";
}

// More than the poller tries: each look sees those too.
TEST(PollerTest, WhatIsTooManyToTryIsAskedFor) {
  Poller poller;
  EventFd sources[5];
  std::vector<std::unique_ptr<DrainingHandler>> handlers;
  for (const EventFd& source : sources) {
    handlers.push_back(std::make_unique<DrainingHandler>(source));
    ASSERT_TRUE(
        poller.Add(source.fd(), EPOLLIN, *handlers.back(), Watching::kTried));
  }
  MakeHot(poller, sources[4]);
  MakeHot(poller, sources[4]);
  for (int i = 0; i < 5; ++i) poller.Remove(sources[i].fd(), *handlers[i]);
}

// Every item that a producer publishes before Wake() is found by a consumer
// that waits without a time limit whenever it sees none. A lost wake-up hangs:
// the wait is cut off at kHang and fails.
TEST(PollerStressTest, NoWakeUpIsLost) {
  constexpr int kProducers = 3;
  constexpr int kItems = 20'000;
  Poller poller;
  std::atomic<int> published{0};
  std::vector<std::thread> producers;
  // The consumer grants one item at a time, so it goes to sleep between them
  // and every phase of the protocol meets every other.
  std::counting_semaphore<kProducers> grants(0);
  std::atomic<bool> stop{false};
  for (int i = 0; i < kProducers; ++i) {
    producers.emplace_back([&] {
      for (;;) {
        grants.acquire();
        if (stop.load()) return;
        // Relaxed: pairs with the exchanges in Wake() and Poll() alone.
        published.fetch_add(1, std::memory_order_relaxed);
        poller.Wake();
      }
    });
  }
  bool lost = false;
  for (int granted = 0; granted < kItems && !lost;) {
    const int batch = 1 + granted % kProducers;
    grants.release(batch);
    granted += batch;
    while (published.load(std::memory_order_relaxed) < granted && !lost) {
      const Instant start = Clock::now();
      poller.Poll(kHang);
      lost = Clock::now() - start > kHang / 2;
    }
  }
  EXPECT_FALSE(lost);
  stop = true;
  grants.release(kProducers);
  for (auto& thread : producers) thread.join();
}

// A handler is freed as soon as Remove() has returned, while two threads poll
// and its descriptor is ready all the time. ASan or TSan see a late call; so
// does `alive` without them.
TEST(PollerStressTest, NoCallAfterRemove) {
  constexpr int kRounds = 5'000;
  struct Checked final : EventHandler {
    ~Checked() override { alive = 0xdead; }
    void OnEvents(uint32_t) override { Try(); }
    bool Try() override {
      for (int i = 0; i < 20; ++i) base::Pause();  // So that Remove() meets it.
      EXPECT_EQ(alive, 0xa11fe);
      // Not atomic: the polls are one at a time, and Remove() orders the
      // reader.
      ++calls;
      return true;
    }
    int alive = 0xa11fe;
    int calls = 0;
  };
  Poller poller;
  std::atomic<bool> stop{false};
  std::vector<std::thread> pollers;
  for (int i = 0; i < 2; ++i) {
    pollers.emplace_back([&, i] {
      Instant now = kThen;
      while (!stop.load()) {
        if (i == 0) {
          poller.Look(now += 100ns);
        } else {
          poller.Poll(10us);
        }
      }
    });
  }
  EventFd sources[4];
  for (const EventFd& source : sources) source.Signal();
  uint64_t calls = 0;
  for (int round = 0; round < kRounds; ++round) {
    std::unique_ptr<Checked> handlers[4];
    for (int i = 0; i < 4; ++i) {
      handlers[i] = std::make_unique<Checked>();
      // Level. All are tried in half of the rounds.
      ASSERT_TRUE(
          poller.Add(sources[i].fd(), EPOLLIN, *handlers[i],
                     round % 2 == 0 ? Watching::kTried : Watching::kAsked));
    }
    if (round % 8 == 0) std::this_thread::yield();
    for (int i = 0; i < 4; ++i) {
      poller.Remove(sources[i].fd(), *handlers[i]);
      calls += static_cast<uint64_t>(handlers[i]->calls);
      handlers[i].reset();
    }
  }
  stop = true;
  for (auto& thread : pollers) thread.join();
  EXPECT_GT(calls, 0u)
      << "the pollers never met a handler: the test proved nothing";
}

}  // namespace
}  // namespace yamanote::io
