// runtime_test.cc - user threads start, block, move and end under every
// placement.

#include "yamanote/runtime.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <array>
#include <atomic>
#include <exception>
#include <fstream>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "base/cpu.h"
#include "worker/engine.h"
#include "worker/spawn.h"
#include "worker/wait.h"
#include "yamanote/semaphore.h"
#include "yamanote/thread.h"

namespace yamanote {
namespace {

using namespace std::chrono_literals;

struct Setup {
  std::string preset;
  unsigned cores;
};

// Beside the presets: an order for which a waker waits until the block is
// reported.
constexpr const char* kLas = "yamanote with las";

std::unique_ptr<Runtime> Make(const std::string& preset, unsigned cores) {
  RuntimeOptions options;
  options.cores = cores;
  options.pin = false;  // Tests run beside each other.
  options.spin = 5us;
  options.scheduling = FindPreset(preset == kLas ? "yamanote" : preset).value();
  if (preset == kLas) options.scheduling.order = "las";
  return Runtime::Create(std::move(options)).value();
}

std::vector<Setup> Setups() {
  std::vector<Setup> setups = {{kLas, 1}, {kLas, 2}};
  for (const PresetInfo& preset : Presets()) {
    for (const unsigned cores : {1u, 2u, 4u}) {
      if (!Validate(preset.scheduling, cores)) continue;
      setups.push_back({std::string(preset.name), cores});
    }
  }
  return setups;
}

class RuntimeTest : public testing::TestWithParam<Setup> {
 protected:
  std::unique_ptr<Runtime> runtime_ = Make(GetParam().preset, GetParam().cores);
};

TEST_P(RuntimeTest, RunReturnsAfterMainHasRun) {
  int runs = 0;
  runtime_->Run([&] {
    EXPECT_TRUE(this_thread::is_user_thread());
    EXPECT_STREQ(this_thread::name(), "main");
    ++runs;
  });
  runtime_->Run([&] { ++runs; });
  EXPECT_EQ(runs, 2);
  EXPECT_FALSE(this_thread::is_user_thread());
}

TEST_P(RuntimeTest, EveryThreadRunsOnceAndJoinSeesItsWrites) {
  constexpr int kThreads = 1000;
  std::vector<int> written(kThreads, 0);
  runtime_->Run([&] {
    std::vector<Thread> threads;
    for (int i = 0; i < kThreads; ++i)
      threads.emplace_back([&written, i] { written[i] += i; });
    for (Thread& thread : threads) thread.join();
  });
  for (int i = 0; i < kThreads; ++i) ASSERT_EQ(written[i], i);
}

TEST_P(RuntimeTest, YieldingThreadsAllAdvance) {
  constexpr int kThreads = 16;
  constexpr int kRounds = 500;
  std::array<int, kThreads> rounds{};
  runtime_->Run([&] {
    std::vector<Thread> threads;
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([&rounds, i] {
        for (int round = 0; round < kRounds; ++round) {
          ++rounds[i];
          this_thread::yield();
        }
      });
    }
    for (Thread& thread : threads) thread.join();
  });
  for (const int done : rounds) EXPECT_EQ(done, kRounds);
}

// Spawned from outside the runtime, as a signal handler thread or a foreign
// library's thread would.
TEST_P(RuntimeTest, KernelThreadsSpawnAndJoin) {
  std::atomic<int> sum{0};
  for (int i = 1; i <= 100; ++i) {
    Thread thread([&sum, i] { sum += i; });
    thread.join();
  }
  EXPECT_EQ(sum, 5050);
}

TEST_P(RuntimeTest, DetachedThreadsRun) {
  std::atomic<int> left{200};
  runtime_->Run([&] {
    for (int i = 0; i < 200; ++i) Thread([&left] { --left; }).detach();
    while (left.load() != 0) this_thread::yield();
  });
  EXPECT_EQ(left, 0);
}

// A waiter is resumed while it is on its way to block: both orders must work.
TEST_P(RuntimeTest, PingPongLosesNoWakeUp) {
  constexpr int kRounds = 2000;
  struct Mailbox {
    std::atomic<worker::Waiter*> waiting{nullptr};
    std::atomic<int> tokens{0};
    void Put() {
      tokens.fetch_add(1);
      if (worker::Waiter* const waiter = waiting.exchange(nullptr))
        worker::Notify(*waiter);
    }
    void Take() {
      while (true) {
        int have = tokens.load();
        if (have > 0 && tokens.compare_exchange_strong(have, have - 1)) return;
        worker::Waiter waiter;
        waiting.store(&waiter);
        if (tokens.load() > 0) {
          // Whoever takes the waiter out ends the wait; ourselves: there is
          // none.
          if (waiting.exchange(nullptr) != nullptr) continue;
        }
        worker::Wait(waiter);
      }
    }
  };
  Mailbox ping, pong;
  runtime_->Run([&] {
    Thread other([&] {
      for (int i = 0; i < kRounds; ++i) {
        ping.Take();
        pong.Put();
      }
    });
    for (int i = 0; i < kRounds; ++i) {
      ping.Put();
      pong.Take();
    }
    other.join();
  });
  EXPECT_EQ(ping.tokens, 0);
  EXPECT_EQ(pong.tokens, 0);
}

TEST_P(RuntimeTest, SleepEndsNotBeforeItsTime) {
  runtime_->Run([&] {
    std::vector<Thread> threads;
    std::atomic<int> early{0};
    for (int i = 0; i < 20; ++i) {
      threads.emplace_back([&early, i] {
        const Instant until = Clock::now() + i * 100us;
        this_thread::sleep_until(until);
        if (Clock::now() < until) ++early;
      });
    }
    for (Thread& thread : threads) thread.join();
    EXPECT_EQ(early, 0);
  });
}

TEST_P(RuntimeTest, SleepInThePastReturns) {
  runtime_->Run(
      [] { EXPECT_TRUE(this_thread::sleep_until(Clock::now() - 1s)); });
}

TEST_P(RuntimeTest, StopEndsASleepThatNeverEnds) {
  runtime_->Run([&] {
    JThread sleeper([](std::stop_token stop) {
      EXPECT_FALSE(this_thread::sleep_until(kNever, stop));
    });
    this_thread::yield();
  });
}

// Also under orders that are told of stops: the thread is still running when
// the callback of a token that was triggered before comes.
TEST_P(RuntimeTest, ATokenTriggeredBeforeEndsSleepAndJoinAtOnce) {
  runtime_->Run([&] {
    std::stop_source source;
    source.request_stop();
    EXPECT_FALSE(this_thread::sleep_until(kNever, source.get_token()));
    std::atomic<bool> go{false};
    Thread thread([&go] {
      while (!go.load()) this_thread::yield();
    });
    EXPECT_FALSE(thread.join_until(kNever, source.get_token()));
    go = true;
    thread.join();
  });
}

TEST_P(RuntimeTest, JoinWithDeadlineGivesUpAndCanBeRepeated) {
  runtime_->Run([&] {
    std::atomic<bool> go{false};
    Thread thread([&go] {
      while (!go.load()) this_thread::yield();
    });
    EXPECT_FALSE(thread.join_until(Clock::now() - 1us));
    EXPECT_FALSE(thread.join_until(Clock::now() + 200us));
    EXPECT_TRUE(thread.joinable());
    go = true;
    EXPECT_TRUE(thread.join_until(kNever));
    EXPECT_FALSE(thread.joinable());
  });
}

// Threads end at the moment a join gives up: the block must be freed once.
TEST_P(RuntimeTest, JoinGivingUpRacesWithTheEnd) {
  runtime_->Run([&] {
    for (int i = 0; i < 300; ++i) {
      Thread thread([i] {
        const Instant until = Clock::now() + i * 100ns;
        while (Clock::now() < until) this_thread::yield();
      });
      while (!thread.join_until(Clock::now() + 5us)) {
      }
    }
  });
}

// The exception is caught, kept in flight over a block, and rethrown; meanwhile
// the same core handles other exceptions.
TEST_P(RuntimeTest, ExceptionsInFlightTravelWithTheirThread) {
  runtime_->Run([&] {
    std::vector<Thread> threads;
    std::atomic<int> right{0};
    for (int i = 0; i < 50; ++i) {
      threads.emplace_back([&right, i] {
        const std::string expected = "error " + std::to_string(i);
        try {
          try {
            throw std::runtime_error(expected);
          } catch (...) {
            for (int round = 0; round < 5; ++round) this_thread::yield();
            this_thread::sleep_for(50us);
            EXPECT_NE(std::current_exception(), nullptr);
            throw;
          }
        } catch (const std::runtime_error& error) {
          if (error.what() == expected && std::uncaught_exceptions() == 0)
            ++right;
        }
      });
    }
    for (Thread& thread : threads) thread.join();
    EXPECT_EQ(right, 50);
  });
}

TEST_P(RuntimeTest, RequestsSpawnedByOtherRoomsRun) {
  std::atomic<int> left{500};
  runtime_->Run([&] {
    for (int i = 0; i < 500; ++i) {
      worker::SpawnOptions options;
      options.flow = static_cast<uint64_t>(i) * 7919 + 1;
      const auto spawned = worker::Spawn(
          options,
          [](void* count) { --*static_cast<std::atomic<int>*>(count); }, &left);
      ASSERT_TRUE(spawned.has_value());
    }
    while (left.load() != 0) this_thread::yield();
  });
}

TEST_P(RuntimeTest, LargeCallablesAndDestructorsWork) {
  runtime_->Run([&] {
    auto shared = std::make_shared<int>(0);
    std::array<uint64_t, 64> large;
    std::iota(large.begin(), large.end(), 0);
    uint64_t sum = 0;
    Thread thread([shared, large, &sum] {
      sum = std::accumulate(large.begin(), large.end(), 0ull);
    });
    thread.join();
    EXPECT_EQ(sum, 63u * 64 / 2);
    EXPECT_EQ(shared.use_count(), 1);
  });
}

std::string SetupName(const testing::TestParamInfo<Setup>& setup) {
  std::string name =
      setup.param.preset + "_" + std::to_string(setup.param.cores);
  for (char& c : name) c = c == '-' || c == ' ' ? '_' : c;
  return name;
}

INSTANTIATE_TEST_SUITE_P(Presets, RuntimeTest, testing::ValuesIn(Setups()),
                         SetupName);

// Threads that wait for each other without blocking need a core each, at once:
// every sleeper that could run one of them must have been woken.
TEST(RuntimeParallelTest, ABurstReachesEverySleepingCore) {
  constexpr unsigned kCores = 4;
  for (const char* preset :
       {"zygos", "shenango", "skyloft-eevdf", "yamanote"}) {
    const auto runtime = Make(preset, kCores);
    for (int round = 0; round < 100; ++round) {
      std::atomic<unsigned> arrived{0};
      std::atomic<unsigned> gave_up{0};
      const auto meet = [&] {
        arrived.fetch_add(1);
        const Instant until = Clock::now() + 5s;
        while (arrived.load() < kCores && Clock::now() < until)
          std::this_thread::yield();
        if (arrived.load() < kCores) gave_up.fetch_add(1);
      };
      runtime->Run([&] {
        std::vector<Thread> threads;
        for (unsigned i = 1; i < kCores; ++i) threads.emplace_back(meet);
        meet();
        for (Thread& thread : threads) thread.join();
      });
      ASSERT_EQ(gave_up.load(), 0u) << preset << ", round " << round;
      // Spread over the workers' way to sleep.
      std::this_thread::sleep_for(200us);
    }
  }
}

// What the pump is asked for meets the worker at every stage of falling asleep.
TEST(RuntimePumpTest, AWorkerThatIsAskedDoesNotSleepOverIt) {
  struct CountingPump final : worker::Pump {
    std::atomic<int> posted{0};
    std::atomic<int> seen{0};
    bool Run(CoreId core, Instant, Moment) override {
      if (core != 1 || posted.load(std::memory_order_relaxed) == 0)
        return false;
      posted.store(0, std::memory_order_relaxed);
      seen.fetch_add(1);
      return true;
    }
    bool Help(CoreId) override { return false; }
  } pump;
  RuntimeOptions options;
  options.cores = 2;
  options.pin = false;
  options.spin = 0us;
  options.scheduling = FindPreset("ix").value();
  const auto runtime = Runtime::Create(std::move(options)).value();
  worker::Engine& engine = *worker::Engine::Current();
  engine.SetPump(&pump);
  for (int i = 1; i <= 50000; ++i) {
    pump.posted.store(1, std::memory_order_relaxed);
    engine.AskForPump(1);
    const Instant until = Clock::now() + 5s;
    // No system call while it goes on: the next post must meet the way to
    // sleep.
    for (int look = 1; pump.seen.load() < i; ++look) {
      if (look % 1024 != 0) continue;
      ASSERT_LT(Clock::now(), until) << "post " << i;
      std::this_thread::yield();
    }
    for (int wait = 0; wait < i % 64; ++wait)
      std::atomic_signal_fence(std::memory_order_seq_cst);
  }
  engine.SetPump(nullptr);
}

TEST(RuntimeLimitsTest, ThreadsBeyondTheLimitAreRefused) {
  RuntimeOptions options;
  options.cores = 1;
  options.pin = false;
  options.max_threads = 128;
  const auto runtime = Runtime::Create(options).value();
  runtime->Run([&] {
    std::vector<Thread> threads;
    std::atomic<bool> go{false};
    for (;;) {
      Result<Thread> thread = Thread::Spawn({}, [&go] {
        while (!go.load()) this_thread::yield();
      });
      if (!thread) {
        EXPECT_EQ(thread.error().code, ErrorCode::kResourceExhausted);
        EXPECT_NE(thread.error().message.find("max_threads = 128"),
                  std::string::npos);
        break;
      }
      threads.push_back(std::move(*thread));
    }
    EXPECT_GE(threads.size(), 127u);  // And main.
    EXPECT_LE(threads.size(), 127u + 64u);
    EXPECT_THROW(Thread([] {}), std::system_error);
    go = true;
    for (Thread& thread : threads) thread.join();
    Thread([] {}).join();
  });
}

// Lets the process map no second slab of stacks of kLargeStack, while there is
// memory for all else.
class NoMoreStacks {
 public:
  static constexpr size_t kLargeStack = size_t{32} << 20;  // 64 are 2 GiB.

  NoMoreStacks() {
    EXPECT_EQ(getrlimit(RLIMIT_AS, &saved_), 0);
    size_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages;
    rlimit lowered = saved_;
    lowered.rlim_cur = pages * 4096 + (rlim_t{1} << 30);
    EXPECT_EQ(setrlimit(RLIMIT_AS, &lowered), 0);
  }
  ~NoMoreStacks() { setrlimit(RLIMIT_AS, &saved_); }

 private:
  rlimit saved_{};
};

// Two slabs' worth of threads that yield to each other, and stacks for half of
// them. The others must neither keep the first from running, whatever the order
// (las puts fresh ones first), nor be forgotten.
TEST(RuntimeLimitsTest, ThreadsWithoutAStackWaitForOthersToEnd) {
  for (const char* const order : {"fifo", "las"}) {
    for (const unsigned cores : {1u, 2u}) {
      SCOPED_TRACE(std::string(order) + " on " + std::to_string(cores));
      RuntimeOptions options;
      options.cores = cores;
      options.pin = false;
      options.stack_bytes = NoMoreStacks::kLargeStack;
      options.scheduling.order = order;
      const auto runtime = Runtime::Create(options).value();
      const NoMoreStacks limit;
      testing::internal::CaptureStderr();
      std::atomic<int> running{0};
      std::atomic<int> ended{0};
      std::atomic<bool> go{false};
      std::vector<Thread> threads;
      for (int i = 0; i < 128; ++i) {
        threads.emplace_back([&] {
          ++running;
          while (!go) this_thread::yield();
          ++ended;
        });
      }
      // All stacks but what other cores have in stock.
      while (running < 33) std::this_thread::yield();
      const uint64_t yields = runtime->stats().yields;
      while (runtime->stats().yields < yields + 1000) std::this_thread::yield();
      EXPECT_LE(running, 64);
      go = true;
      for (Thread& thread : threads) thread.join();
      EXPECT_EQ(ended, 128);
      testing::internal::GetCapturedStderr();  // Says so once.
    }
  }
}

// Those that have stacks all block: the core sleeps, and still finds out when
// there is a stack again.
TEST(RuntimeLimitsTest, ACoreSleepsWhileAThreadWaitsForAStack) {
  RuntimeOptions options;
  options.cores = 1;
  options.pin = false;
  options.stack_bytes = NoMoreStacks::kLargeStack;
  const auto runtime = Runtime::Create(options).value();
  const NoMoreStacks limit;
  testing::internal::CaptureStderr();
  CountingSemaphore<> go(0);
  std::atomic<int> started{0};
  std::atomic<int> ended{0};
  std::vector<Thread> threads;
  for (int i = 0; i < 70; ++i) {
    threads.emplace_back([&] {
      ++started;
      go.acquire();
      ++ended;
    });
  }
  const uint64_t parks = runtime->stats().parks;
  while (runtime->stats().parks < parks + 2) std::this_thread::yield();
  EXPECT_LE(started, 64);
  go.release(70);
  for (Thread& thread : threads) thread.join();
  EXPECT_EQ(ended, 70);
  testing::internal::GetCapturedStderr();
}

TEST(RuntimeLimitsTest, ImpossibleOptionsAreRefused) {
  const auto message = [](RuntimeOptions options) {
    const auto runtime = Runtime::Create(std::move(options));
    return runtime ? std::string("accepted") : runtime.error().message;
  };
  EXPECT_NE(message({.stack_bytes = 100}).find("stack_bytes = 100"),
            std::string::npos);
  EXPECT_NE(message({.cpus = {4000}}).find("CPU 4000"), std::string::npos);
  EXPECT_NE(message({.cores = 100000, .pin = false}).find("cores"),
            std::string::npos);
  EXPECT_NE(message({.cores = 1, .max_threads = 0}).find("max_threads = 0"),
            std::string::npos);
  EXPECT_NE(message({.cores = 1, .spin = -1us}).find("spin"),
            std::string::npos);
}

// Who says nothing gets the default preset, its slices included.
TEST(RuntimeDefaultsTest, TheSchedulingIsTheDefaultPreset) {
  const auto runtime = Runtime::Create({.cores = 2, .pin = false}).value();
  const Scheduling& scheduling = runtime->options().scheduling;
  EXPECT_EQ(scheduling.preset, kDefaultPreset);
  EXPECT_EQ(scheduling.order, "mlfq");
  EXPECT_EQ(scheduling.slice, kAdaptiveSlice);
  EXPECT_EQ(scheduling.placement, PlacementKind::kTwoLevel);
  EXPECT_TRUE(scheduling.steal);
  EXPECT_NE(runtime->mechanism(), Mechanism::kNone);
}

TEST(RuntimeLimitsTest, OneRuntimeAtATime) {
  const auto first = Make("yamanote", 1);
  const auto second = Runtime::Create({.cores = 1, .pin = false});
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().code, ErrorCode::kUnavailable);
}

TEST(RuntimeLimitsTest, ThreadsWithoutARuntimeAreRefused) {
  const Result<Thread> thread = Thread::Spawn({}, [] {});
  ASSERT_FALSE(thread.has_value());
  EXPECT_EQ(thread.error().code, ErrorCode::kUnavailable);
}

}  // namespace
}  // namespace yamanote
