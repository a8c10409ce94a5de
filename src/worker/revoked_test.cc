// revoked_test.cc - a real daemon takes a core away from a long task of a real runtime.
//
// Core 1 is another application's home, on which the runtime's long task is a guest. When
// its owner comes back the task has to leave: by its probes, by a signal, or, if it holds
// preemption off, with its kernel thread. It goes on all the same, and the core is had
// again when the owner has left.

#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "arbiter/test_app.h"
#include "arbiter/test_daemon.h"
#include "base/under_tsan.h"
#include "yamanote/preempt.h"
#include "yamanote/runtime.h"
#include "yamanote/thread.h"

namespace yamanote {
namespace {

using namespace std::chrono_literals;
using arbiter::Eventually;

// What a task computes, so that something is lost if a register is.
struct Sum {
  uint64_t value = 0;
  uint64_t rounds = 0;
  void Add() { value += (++rounds) * 0x9e3779b97f4a7c15U; }
  // Modulo 2^64; of two neighbours one is even.
  bool Holds() const {
    const uint64_t even = rounds % 2 == 0 ? rounds : rounds + 1;
    const uint64_t odd = rounds % 2 == 0 ? rounds + 1 : rounds;
    return value == even / 2 * odd * 0x9e3779b97f4a7c15U;
  }
};

YAMANOTE_INTERRUPTIBLE void WorkWithoutProbes(Sum& sum,
                                              const std::atomic<bool>& end) {
  while (!end.load(std::memory_order_relaxed)) sum.Add();
}

class RevokedTest : public testing::Test {
 protected:
  void Start(Mechanism mechanism) {
    arbiter::DaemonOptions options = arbiter::TestOptions(folder_.socket());
    options.server.list = [this](const arbiter::Status& status) {
      for (const arbiter::AppStatus& app : status.apps) {
        if (app.name != "app") continue;
        const std::lock_guard guard(mutex_);
        counters_ = app.counters;
        holds_ = false;
        for (const arbiter::HeldCore& core : app.cores) {
          holds_ = holds_ || (core.core == 1 &&
                              core.state == arbiter::CoreState::kRunning);
        }
      }
      return std::string();
    };
    daemon_ = std::make_unique<arbiter::TestDaemon>(std::move(options),
                                                    arbiter::Guests::kEqual);
    ASSERT_EQ(daemon_->error.message, "");
    arbiter::Hello hello = arbiter::TestHello("owner", 1, 1);
    hello.held[1] = arbiter::kHeldHome;
    owner_ = std::make_unique<arbiter::TestApp>(folder_.socket(), hello);
    ASSERT_TRUE(owner_->ok());
    ASSERT_EQ(owner_->welcome().home[1], 1);
    owner_->home = false;
    RuntimeOptions runtime;
    runtime.scheduling = Scheduling{};
    runtime.scheduling.order = "rr";
    runtime.scheduling.slice = 200us;
    runtime.scheduling.allocation = "delay";
    runtime.preemption = mechanism;
    runtime.watchdog = Duration::zero();
    runtime.arbiter.socket = folder_.socket();
    runtime.arbiter.name = "app";
    runtime.arbiter.burst = 1;
    auto created = Runtime::Create(runtime);
    ASSERT_TRUE(created) << created.error().message;
    runtime_ = std::move(*created);
  }

  bool Look() {
    arbiter::TestConnection(folder_.socket()).List();
    const std::lock_guard guard(mutex_);
    return holds_;
  }
  arbiter::AppCounters Counters() {
    Look();
    const std::lock_guard guard(mutex_);
    return counters_;
  }

  // Three tasks of `work`, of which one is on core 1 at a time; the owner comes back and
  // goes `times`.
  template <typename Work>
  void Disturb(int times, Work work) {
    std::thread disturber([&] {
      for (int i = 0; i < times; ++i) {
        EXPECT_TRUE(Eventually([&] { return Look(); })) << "has the core " << i;
        owner_->home = true;
        EXPECT_TRUE(Eventually([&] { return owner_->Running(1); }));
        EXPECT_TRUE(Eventually([&] { return !Look(); })) << "left it " << i;
        owner_->home = false;
      }
      EXPECT_TRUE(Eventually([&] { return Look(); })) << "has it in the end";
      end_ = true;
    });
    runtime_->Run([&] {
      std::vector<Thread> threads;
      for (int i = 0; i < 3; ++i) {
        threads.emplace_back([&] {
          Sum sum;
          work(sum);
          EXPECT_TRUE(sum.Holds());
          ++finished_;
        });
      }
      for (Thread& thread : threads) thread.join();
    });
    disturber.join();
    EXPECT_EQ(finished_, 3);
  }

  arbiter::TestFolder folder_;
  std::mutex mutex_;
  arbiter::AppCounters counters_{};
  bool holds_ = false;
  std::unique_ptr<arbiter::TestDaemon> daemon_;
  std::unique_ptr<arbiter::TestApp> owner_;
  std::unique_ptr<Runtime> runtime_;
  std::atomic<bool> end_{false};
  std::atomic<int> finished_{0};
};

TEST_F(RevokedTest, ATaskWithProbesLeavesByTheFlag) {
  Start(Mechanism::kProbe);
  Disturb(10, [&](Sum& sum) {
    while (!end_.load(std::memory_order_relaxed)) {
      sum.Add();
      Probe();
    }
  });
  EXPECT_GE(Counters().revocations, 10U);
}

TEST_F(RevokedTest, ATaskWithoutProbesLeavesByTheSignal) {
  if (YAMANOTE_UNDER_TSAN) GTEST_SKIP() << "ThreadSanitizer delays signals";
  Start(Mechanism::kSignal);
  Disturb(10, [&](Sum& sum) { WorkWithoutProbes(sum, end_); });
  EXPECT_GE(Counters().revocations, 10U);
}

// For 20 ms at a time, ten times the deadline.
TEST_F(RevokedTest, ATaskThatHoldsPreemptionOffIsMovedWithItsThread) {
  Start(Mechanism::kProbe);
  Disturb(3, [&](Sum& sum) {
    while (!end_.load(std::memory_order_relaxed)) {
      {
        const NoPreempt guard;
        const Instant until = Clock::now() + 20ms;
        while (Clock::now() < until) {
          sum.Add();
          Probe();
        }
      }
      Probe();
    }
  });
  EXPECT_GE(Counters().signals, 1U);
  EXPECT_GE(Counters().moves, 1U);
}

}  // namespace
}  // namespace yamanote
