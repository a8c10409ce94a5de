// rcu_test.cc - rcu: on user threads, on kernel threads, and between both.

#include "yamanote/rcu.h"

#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <vector>

#include "worker/sync/crew.h"
#include "yamanote/mutex.h"
#include "yamanote/semaphore.h"

namespace yamanote {
namespace {

class RcuTest : public CrewTest {};

// Two halves that a reader must always find equal; a freed one has neither.
struct Pair {
  explicit Pair(int value) : first(value), second(value) {}
  ~Pair() { first = second = -1; }
  int first;
  int second;
};

TEST_P(RcuTest, ReadersNeverSeeWhatWasRetired) {
  Run([](Crew& crew) {
    constexpr int kUpdates = 200;
    std::atomic<const Pair*> current{new Pair(0)};
    std::atomic<bool> stop{false};
    crew.Start(4, [&] {
      while (!stop) {
        {
          const RcuReader reader;
          const Pair* const pair = current.load(std::memory_order_acquire);
          const int first = pair->first;
          for (int spin = 0; spin < 50; ++spin) {
            const RcuReader nested;
            EXPECT_GE(pair->first, 0);
          }
          EXPECT_EQ(first, pair->second);
        }
        this_thread::yield();
      }
    });
    for (int i = 1; i <= kUpdates; ++i) {
      const Pair* const old =
          current.exchange(new Pair(i), std::memory_order_acq_rel);
      if (i % 2 == 0) {
        Rcu::retire(old);
      } else {
        Rcu::synchronize();
        delete old;
      }
      this_thread::yield();
    }
    stop = true;
    crew.Join();
    Rcu::barrier();
    delete current.load();
  });
}

// A section that is open when a grace period begins holds its callback up; the
// grace period ends once the section has.
TEST(RcuGracePeriodTest, LastsAsLongAsAnOpenSection) {
  std::atomic<bool> in_section{false};
  std::atomic<bool> leave{false};
  std::atomic<bool> left{false};
  std::atomic<bool> waited{false};
  std::thread reader([&] {
    const RcuReader section;
    in_section = true;
    while (!leave) std::this_thread::yield();
    left = true;
  });
  while (!in_section) std::this_thread::yield();
  std::thread writer([&] {
    Rcu::synchronize();
    EXPECT_TRUE(left);
    waited = true;
  });
  std::atomic<bool> called{false};
  struct Seen {
    std::atomic<bool>& left;
    std::atomic<bool>& called;
  } seen{left, called};
  Rcu::call(
      [](void* argument) {
        auto& s = *static_cast<Seen*>(argument);
        EXPECT_TRUE(s.left);
        s.called = true;
      },
      &seen);
  EXPECT_FALSE(waited);
  EXPECT_FALSE(called);
  leave = true;
  Rcu::barrier();
  EXPECT_TRUE(called);
  writer.join();
  reader.join();
}

TEST_P(RcuTest, CallbacksRunOnceAndInOrder) {
  Run([](Crew&) {
    constexpr int kCalls = 3000;
    static std::vector<int>* order;
    static int next;
    std::vector<int> ran;
    order = &ran;
    next = 0;
    for (int i = 0; i < kCalls; ++i) {
      Rcu::call([](void*) { order->push_back(next++); }, nullptr);
    }
    Rcu::barrier();
    EXPECT_EQ(ran.size(), static_cast<size_t>(kCalls));
    EXPECT_EQ(ran.back(), kCalls - 1);
  });
}

// A section may retire, and callbacks may too.
TEST_P(RcuTest, CallFromSectionsAndCallbacks) {
  Run([](Crew&) {
    static std::atomic<int> calls;
    calls = 0;
    {
      const RcuReader reader;
      Rcu::call(
          [](void*) {
            ++calls;
            Rcu::call([](void*) { ++calls; }, nullptr);
          },
          nullptr);
    }
    Rcu::barrier();
    EXPECT_GE(calls, 1);
    Rcu::barrier();  // What the callback submitted was submitted before this.
    EXPECT_EQ(calls, 2);
  });
}

// The backlog is bounded: a writer that is faster than grace periods waits.
TEST_P(RcuTest, BacklogIsBounded) {
  Run([](Crew&) {
    constexpr size_t kCalls = 2 * Rcu::kMaxPending;
    static std::atomic<size_t> ran;
    ran = 0;
    size_t most = 0;
    for (size_t i = 1; i <= kCalls; ++i) {
      Rcu::call([](void*) { ran.fetch_add(1); }, nullptr);
      most = std::max(most, i - ran.load());
    }
    Rcu::barrier();
    EXPECT_EQ(ran, kCalls);
    // The backlog is looked at once in 256 calls.
    EXPECT_LE(most, Rcu::kMaxPending + 256);
  });
}

YAMANOTE_CREW_TESTS(RcuTest);

TEST(RcuDeathTest, BlockingInASection) {
  EXPECT_DEATH(
      {
        BinarySemaphore never(0);
        const RcuReader reader;
        never.acquire();
      },
      "within an RCU read section");
  EXPECT_DEATH(
      {
        const RcuReader reader;
        Rcu::synchronize();
      },
      "within an RCU read section");
  EXPECT_DEATH(
      {
        const RcuReader reader;
        Rcu::barrier();
      },
      "within an RCU read section");
  EXPECT_DEATH(Rcu::unlock(), "without a read section");
}

TEST(RcuDeathTest, YieldingOnAUserThreadInASection) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        RuntimeOptions options;
        options.cores = 1;
        options.pin = false;
        Runtime::Create(options).value()->Run([] {
          const RcuReader reader;
          this_thread::yield();
        });
      },
      "within an RCU read section");
}

}  // namespace
}  // namespace yamanote
