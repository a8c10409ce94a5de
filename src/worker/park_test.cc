// park_test.cc - no task is left waiting while workers sleep (protocol P).
//
// The parties are kernel threads and a plain counter of tasks, so that every
// interleaving the machine produces is tried, many times over, without the rest
// of the runtime. Under ThreadSanitizer the memory orders are checked as well.

#include "worker/park.h"

#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <thread>
#include <vector>

namespace yamanote::worker {
namespace {

using namespace std::chrono_literals;
using dispatch::Notify;

// Workers that take tokens from one counter, in the way Worker::Idle() does.
class TokenWorkers {
 public:
  TokenWorkers(unsigned cores, bool work_moves, int looks)
      : parking_(cores, work_moves), looks_(looks) {
    for (CoreId core = 0; core < cores; ++core) {
      threads_.emplace_back([this, core] { Loop(core); });
    }
  }

  ~TokenWorkers() {
    stopping_ = true;
    parking_.NotifyAll();
    for (std::thread& thread : threads_) thread.join();
  }

  void Put() {
    tokens_.fetch_add(1, std::memory_order_relaxed);  // E1
    parking_.Notify({Notify::kAnyone, kNoCore});
  }

  // Bounded by the test's own timeout: a lost wake-up hangs here.
  void WaitUntilTaken(int count) {
    while (taken_.load() < count) std::this_thread::yield();
  }

  Parking& parking() { return parking_; }

 private:
  bool TakeToken() {
    int have = tokens_.load(std::memory_order_relaxed);
    while (have > 0) {
      if (tokens_.compare_exchange_weak(have, have - 1,
                                        std::memory_order_relaxed)) {
        taken_.fetch_add(1);
        return true;
      }
    }
    return false;
  }

  void Loop(CoreId core) {
    parking_.BeginSpin(core);
    int looks = 0;
    while (!stopping_) {
      if (TakeToken()) {
        if (parking_.EndSpinWithWork(core) &&
            (parking_.NeedsWatcher() ||
             tokens_.load(std::memory_order_relaxed) > 0)) {
          parking_.Notify({Notify::kAnyone, kNoCore});
        }
        parking_.BeginSpin(core);
        looks = 0;
        continue;
      }
      if (++looks < looks_) continue;
      parking_.BeginPark(core);
      if (tokens_.load(std::memory_order_relaxed) > 0 || stopping_) {
        parking_.CancelPark(core);
        continue;
      }
      parking_.Sleep(core, [] { return kNever; });
      looks = 0;
    }
    parking_.EndSpinWithWork(core);
  }

  Parking parking_;
  const int looks_;
  std::atomic<int> tokens_{0};
  std::atomic<int> taken_{0};
  std::atomic<bool> stopping_{false};
  std::vector<std::thread> threads_;
};

// One token at a time: each Put() meets workers at every stage of parking.
TEST(ParkTest, EveryTaskWakesSomebody) {
  for (const unsigned cores : {1u, 2u, 4u}) {
    for (const int looks : {1, 50}) {
      TokenWorkers workers(cores, cores > 1, looks);
      for (int i = 1; i <= 2000; ++i) {
        workers.Put();
        workers.WaitUntilTaken(i);
      }
    }
  }
}

TEST(ParkTest, BurstsFromSeveralThreadsAreAllTaken) {
  constexpr int kPerThread = 3000;
  TokenWorkers workers(3, true, 5);
  std::vector<std::thread> putters;
  for (int t = 0; t < 3; ++t) {
    putters.emplace_back([&workers] {
      for (int i = 0; i < kPerThread; ++i) workers.Put();
    });
  }
  for (std::thread& putter : putters) putter.join();
  workers.WaitUntilTaken(3 * kPerThread);
}

// A waker made core 0 Spinning, and lost its CPU before it counted that. Core 0
// finds work meanwhile: it was the last that looked, and the next task must not be
// left to a spinner that is not there.
TEST(ParkTest, ASpinnerThatIsNotCountedYetHidesNoTask) {
  Parking parking(2, true);
  for (const CoreId core : {0u, 1u}) {
    parking.BeginSpin(core);
    parking.BeginPark(core);
  }
  EXPECT_TRUE(parking.EndSpinWithWork(0)) << "core 1 sleeps";
  EXPECT_FALSE(parking.AnySpinning());
  parking.Notify({Notify::kAnyone, kNoCore});
  EXPECT_FALSE(parking.IsParked(1));
}

TEST(ParkTest, NotifyOfACoreWakesThatCore) {
  Parking parking(2, false);
  std::atomic<int> woken{0};
  std::thread sleeper([&] {
    for (int i = 0; i < 1000; ++i) {
      parking.BeginSpin(1);
      parking.BeginPark(1);
      if (woken.load() > i) {
        parking.CancelPark(1);
      } else {
        while (woken.load() <= i) {
          parking.Sleep(1, [] { return kNever; });
          if (woken.load() > i) break;
          parking.BeginPark(1);
        }
      }
      parking.EndSpinWithWork(1);
      while (woken.load() != i + 1) std::this_thread::yield();
      woken.store(-(i + 1));  // Answer.
      while (woken.load() != i + 1 && woken.load() <= 0)
        std::this_thread::yield();
    }
  });
  for (int i = 0; i < 1000; ++i) {
    woken.store(i + 1);
    parking.Notify({Notify::kCore, 1});
    while (woken.load() != -(i + 1)) std::this_thread::yield();
    woken.store(i + 1);
  }
  sleeper.join();
}

// An event of a core that does not look is seen by a sleeper of another core.
TEST(ParkTest, TheWatcherSeesEventsOfBusyCores) {
  struct Handler final : io::EventHandler {
    std::atomic<int> events{0};
    void OnEvents(uint32_t) override { events.fetch_add(1); }
  } handler;
  const int event = eventfd(0, EFD_NONBLOCK);
  ASSERT_GE(event, 0);
  {
    TokenWorkers workers(3, true, 1);
    // Core 0's poller; whichever worker watches serves it.
    ASSERT_TRUE(
        workers.parking().poller(0).Add(event, EPOLLIN | EPOLLET, handler));
    for (int i = 1; i <= 200; ++i) {
      const uint64_t one = 1;
      ASSERT_EQ(write(event, &one, sizeof(one)),
                static_cast<ssize_t>(sizeof(one)));
      while (handler.events.load() < i) std::this_thread::yield();
    }
    workers.parking().poller(0).Remove(event, handler);
  }
  close(event);
}

TEST(ParkTest, ASleepEndsAtItsTimer) {
  for (const bool work_moves : {false, true}) {
    Parking parking(2, work_moves);
    parking.BeginSpin(0);
    parking.BeginPark(0);
    const Instant until = Clock::now() + 2ms;
    parking.Sleep(0, [until] { return until; });
    EXPECT_GE(Clock::now(), until);
    EXPECT_FALSE(parking.IsParked(0));
    parking.EndSpinWithWork(0);
  }
}

// A timer that is added while the watcher falls asleep shortens its sleep.
TEST(ParkTest, AnEarlierTimerWakesTheWatcher) {
  Parking parking(2, true);
  for (int i = 0; i < 300; ++i) {
    std::atomic<int64_t> next{INT64_MAX};
    std::atomic<bool> asleep{false};
    std::thread sleeper([&] {
      parking.BeginSpin(0);
      parking.BeginPark(0);
      asleep = true;
      // As Worker::Idle(): sleeps again until its timer is due.
      for (;;) {
        parking.Sleep(0, [&next] { return FromNanos(next.load()); });
        if (next.load() <= ToNanos(Clock::now())) break;
        parking.BeginPark(0);
      }
      parking.EndSpinWithWork(0);
    });
    while (!asleep) std::this_thread::yield();
    const Instant soon = Clock::now() + 10us;
    next.store(ToNanos(soon));
    parking.NotifyTimer(soon);
    sleeper.join();
  }
}

}  // namespace
}  // namespace yamanote::worker
