// registration_test.cc - a runtime under real daemons that come and go.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <thread>

#include "arbiter/test_app.h"
#include "arbiter/test_daemon.h"
#include "worker/spawn.h"
#include "worker/test_turns.h"
#include "yamanote/condition_variable.h"
#include "yamanote/mutex.h"
#include "yamanote/preempt.h"
#include "yamanote/runtime.h"
#include "yamanote/thread.h"

namespace yamanote {
namespace {

using namespace std::chrono_literals;
using arbiter::Eventually;
using arbiter::TestApp;
using arbiter::TestDaemon;
using arbiter::TestFolder;
using arbiter::TestHello;
using testing::HasSubstr;

// "app:0=home/running 1=adopted/running;"
std::string Describe(const arbiter::Status& status) {
  std::string text;
  for (const arbiter::AppStatus& app : status.apps) {
    text += app.name + ":";
    for (const arbiter::HeldCore& held : app.cores) {
      text += std::to_string(held.core) + "=" +
              std::string(ToString(held.why)) + "/" +
              std::string(ToString(held.state)) + " ";
    }
    text += ";";
  }
  return text;
}

class RegistrationTest : public testing::Test {
 protected:
  arbiter::DaemonOptions Options() const {
    arbiter::DaemonOptions options = arbiter::TestOptions(folder_.socket());
    options.server.list = Describe;
    return options;
  }
  void StartDaemon(const arbiter::DaemonOptions& options) {
    daemon_ = std::make_unique<TestDaemon>(options, arbiter::Guests::kEqual);
    ASSERT_EQ(daemon_->error.message, "");
  }
  void StartRuntime(unsigned burst = 1) {
    RuntimeOptions options;
    options.scheduling = Scheduling{};
    options.scheduling.order = "rr";
    options.scheduling.slice = 50us;
    options.scheduling.allocation = "delay";
    options.arbiter.socket = folder_.socket();
    options.arbiter.name = "app";
    options.arbiter.burst = burst;
    auto runtime = Runtime::Create(options);
    ASSERT_TRUE(runtime) << runtime.error().message;
    runtime_ = std::move(*runtime);
  }
  // Work for all cores there are, until EndLoad().
  void BeginLoad() {
    end_ = false;
    load_ = std::thread([this] {
      runtime_->Run([this] {
        std::vector<Thread> threads;
        for (int i = 0; i < 4; ++i) {
          threads.emplace_back([this] {
            while (!end_) {
              seen_[this_core()].store(true, std::memory_order_relaxed);
              CheckPreempt();
            }
            ++finished_;
          });
        }
        for (Thread& thread : threads) thread.join();
      });
    });
  }
  void EndLoad() {
    end_ = true;
    load_.join();
    EXPECT_EQ(finished_.exchange(0), 4);
  }
  // Of the worker that runs this. Not by pthread_self(), which compilers take for a
  // constant: a task goes from one kernel thread to another.
  static unsigned this_core() { return worker::CurrentCore() % 2; }
  std::string List() const {
    return arbiter::TestConnection(folder_.socket()).List();
  }
  bool Lists(const char* part) const {
    return Eventually([&] { return List().find(part) != std::string::npos; });
  }
  // The runtime loses its daemon, and an application that says that `home` was its home core
  // is with the next one before it: it asks every 250 ms after a while. nullptr: never.
  std::unique_ptr<TestApp> Overtake(CoreId home) {
    arbiter::Hello hello = TestHello("other", 1, 1);
    hello.held[home] = arbiter::kHeldHome;
    for (int tries = 0; tries < 20; ++tries) {
      daemon_.reset();
      std::this_thread::sleep_for(700ms);
      StartDaemon(Options());
      auto other = std::make_unique<TestApp>(folder_.socket(), hello);
      EXPECT_TRUE(other->ok());
      if (other->welcome().home[home] != 0) return other;
      EXPECT_TRUE(Lists("app:")) << List();
    }
    return nullptr;
  }
  // Tasks run on both cores, or only on the first.
  bool RunsOn(bool first, bool second) {
    return Eventually([&] {
      seen_[0] = seen_[1] = false;
      std::this_thread::sleep_for(20ms);
      return seen_[0] == first && seen_[1] == second;
    });
  }

  TestFolder folder_;
  std::unique_ptr<TestDaemon> daemon_;
  std::unique_ptr<Runtime> runtime_;
  std::thread load_;
  std::atomic<bool> end_{false};
  std::atomic<int> finished_{0};
  std::array<std::atomic<bool>, 2> seen_{};
};

TEST_F(RegistrationTest, GoesOnWithTheNextDaemonAndKeepsItsCores) {
  StartDaemon(Options());
  StartRuntime();
  BeginLoad();
  ASSERT_TRUE(Lists("1=wanted/running")) << List();
  for (int i = 0; i < 3; ++i) {
    daemon_.reset();
    EXPECT_TRUE(RunsOn(true, true)) << "without a daemon it goes on";
    arbiter::DaemonOptions options = Options();
    if (i == 1) options.mode = arbiter::DaemonOptions::Mode::kPolling;
    if (i == 1) options.interval = 200us;
    StartDaemon(options);
    ASSERT_TRUE(Lists("app:0=home/running 1=adopted/running")) << List();
  }
  EndLoad();
  // The new one's words count: without work the core is left, and had again.
  EXPECT_TRUE(Lists("app:0=home/away 1=adopted/kept ;")) << List();
  // It may come back there any moment, so the next one has to know.
  daemon_.reset();
  StartDaemon(Options());
  EXPECT_TRUE(Lists("app:0=home/away 1=adopted/kept ;")) << List();
  BeginLoad();
  EXPECT_TRUE(Lists("1=adopted/running")) << List();
  EndLoad();
}

TEST_F(RegistrationTest, WhatTheNextDaemonDoesNotAdoptIsGivenBack) {
  StartDaemon(Options());
  StartRuntime(/*burst=*/kMaxCores);
  BeginLoad();
  ASSERT_TRUE(Lists("1=wanted/running")) << List();
  daemon_.reset();
  // Nobody may have more than its guarantee, says the new configuration.
  arbiter::DaemonOptions options = Options();
  options.server.rights = {};
  options.server.rights.users[geteuid()] = {
      .guaranteed = 2, .burst = 0, .apps = 8};
  StartDaemon(options);
  EXPECT_TRUE(Lists("app:0=home/running ;")) << List();
  EXPECT_TRUE(RunsOn(true, false));
  EndLoad();
}

// Another application has registered before it, and has the core on which it bursts as
// its home.
TEST_F(RegistrationTest, ACoreThatIsSomebodyElsesNowIsLeft) {
  StartDaemon(Options());
  StartRuntime();
  BeginLoad();
  ASSERT_TRUE(Lists("1=wanted/running")) << List();
  const auto other = Overtake(1);
  ASSERT_NE(other, nullptr);
  EXPECT_TRUE(Lists("app:0=home/running ;")) << List();
  EXPECT_TRUE(Lists("other:1=home/running")) << List();
  EXPECT_TRUE(RunsOn(true, false));
  EndLoad();
}

// Its home core is another one from then on.
TEST_F(RegistrationTest, HomeCoresMayChange) {
  StartDaemon(Options());
  StartRuntime(/*burst=*/0);
  BeginLoad();
  ASSERT_TRUE(Lists("app:0=home/running")) << List();
  EXPECT_TRUE(RunsOn(true, false));
  const auto other = Overtake(0);
  ASSERT_NE(other, nullptr);
  EXPECT_TRUE(Lists("app:1=home/running")) << List();
  EXPECT_TRUE(RunsOn(false, true));
  EndLoad();
  EXPECT_TRUE(Lists("app:1=home/away")) << List();
}

TEST_F(RegistrationTest, ARefusalIsSaidOnceAndLeavesTheHomeCores) {
  StartDaemon(Options());
  StartRuntime();
  BeginLoad();
  ASSERT_TRUE(Lists("1=wanted/running")) << List();
  testing::internal::CaptureStderr();
  daemon_.reset();
  arbiter::DaemonOptions options = Options();
  options.server.rights = {};
  options.server.rights.users[geteuid()] = {
      .guaranteed = 0, .burst = 1, .apps = 8};
  StartDaemon(options);
  EXPECT_TRUE(RunsOn(true, false));
  // Asked twice more, at least.
  std::this_thread::sleep_for(2500ms);
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_THAT(said, HasSubstr("its guaranteed cores and no others"));
  EXPECT_EQ(said.find("not registered"), said.rfind("not registered")) << said;
  // Until one comes that lets it.
  daemon_.reset();
  StartDaemon(Options());
  EXPECT_TRUE(Lists("app:0=home/running 1=wanted/running")) << List();
  EndLoad();
}

TEST_F(RegistrationTest, OtherCpusAreNotItsOwn) {
  StartDaemon(Options());
  StartRuntime();
  testing::internal::CaptureStderr();
  daemon_.reset();
  arbiter::DaemonOptions options = Options();
  options.arbiter.cpus.pop_back();
  StartDaemon(options);
  std::this_thread::sleep_for(300ms);
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              HasSubstr("restart the application"));
  BeginLoad();
  EXPECT_TRUE(RunsOn(true, false));
  EndLoad();
}

// Its tasks give way only when all is over, so no worker can go over to the next daemon's
// words; it registers with each of them all the same.
TEST_F(RegistrationTest, ALongTaskHoldsNoRegistrationUp) {
  StartDaemon(Options());
  StartRuntime();
  std::atomic<bool> end{false};
  std::atomic<int> begun{0};
  std::thread load([&] {
    runtime_->Run([&] {
      std::vector<Thread> threads;
      for (int i = 0; i < 2; ++i) {
        threads.emplace_back([&] {
          ++begun;
          while (!end) std::this_thread::sleep_for(1ms);
        });
      }
      for (Thread& thread : threads) thread.join();
    });
  });
  EXPECT_TRUE(Eventually([&] { return begun == 2; }));
  for (int i = 0; i < 3; ++i) {
    daemon_.reset();
    StartDaemon(Options());
    EXPECT_TRUE(Lists("app:")) << i;
  }
  end = true;
  load.join();
  EXPECT_TRUE(Lists("app:0=home/away 1=adopted/kept ;")) << List();
  BeginLoad();
  EXPECT_TRUE(Lists("1=adopted/running")) << List();
  EndLoad();
}

// It ends while nobody is there, or while somebody is who does not answer.
TEST_F(RegistrationTest, EndsWhileItAsks) {
  StartDaemon(Options());
  StartRuntime();
  daemon_.reset();
  std::this_thread::sleep_for(20ms);
  runtime_.reset();

  StartDaemon(Options());
  StartRuntime();
  daemon_.reset();
  const int deaf = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  std::strncpy(address.sun_path, folder_.socket().c_str(),
               sizeof(address.sun_path) - 1);
  ASSERT_EQ(bind(deaf, reinterpret_cast<sockaddr*>(&address), sizeof(address)),
            0);
  ASSERT_EQ(listen(deaf, 1), 0);
  std::this_thread::sleep_for(400ms);
  const Instant begin = Clock::now();
  runtime_.reset();
  EXPECT_LT(Clock::now() - begin, 4s);
  close(deaf);
}

// Daemons come and go at random while tasks spawn, block and wake each other.
TEST_F(RegistrationTest, NothingIsLostWhateverDaemonsComeAndGo) {
  StartDaemon(Options());
  StartRuntime();
  std::atomic<bool> end{false};
  std::atomic<int> restarts{0};
  std::thread restarter([&] {
    while (!end) {
      std::this_thread::sleep_for(5ms);
      daemon_.reset();
      std::this_thread::sleep_for(1ms);
      daemon_ = std::make_unique<TestDaemon>(Options());
      ASSERT_EQ(daemon_->error.message, "");
      ++restarts;
    }
  });
  for (int rounds = 0; restarts < 40 && rounds < 10'000; ++rounds)
    TakeTurns(*runtime_, 8, 100);
  end = true;
  restarter.join();
  EXPECT_GE(restarts, 40);
  EXPECT_TRUE(Lists("app:")) << "registered in the end";
}

}  // namespace
}  // namespace yamanote
