// tracing_test.cc - the tracing back-end on this machine's kernel.

#include "native/tracing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "native/tracing_fixture.h"

namespace yamanote::native {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

// ---- Messages ---------------------------------------------------------------

TEST_F(TracingTest, MessagesComeInOrderWithGrowingNumbers) {
  Gate gate;
  Program program([&](Board& board) {
    gate.Wait();
    // A thread that blocks twice, and a process.
    std::thread([&] {
      NapMs(1);
      NapMs(1);
      ++board.count;
    }).join();
    const pid_t child = fork();
    if (child == 0) _exit(0);
    waitpid(child, nullptr, 0);
  });
  const auto kernel = Make();
  NEEDS_TRACING(kernel);
  const QueueId queue = Listen(*kernel);
  const auto joined = kernel->Add(program.pid());
  ASSERT_TRUE(joined) << joined.error().message;
  EXPECT_EQ(joined->threads, 1u);
  gate.Open();
  const auto all = Collect(*kernel, queue, [](const auto& messages) {
    return CountOf(messages, kThreadDead) == 3;
  });
  EXPECT_TRUE(program.Ends());

  std::map<ThreadId, std::vector<Message>> threads;
  for (const Message& message : all) threads[message.thread].push_back(message);
  ASSERT_EQ(threads.size(), 3u);
  for (const auto& [id, messages] : threads) {
    EXPECT_EQ(messages.front().type, kThreadCreated);
    EXPECT_EQ(messages.back().type, kThreadDead);
    bool runnable = (messages.front().flags & kStatusRunnable) != 0;
    for (std::size_t i = 1; i < messages.size(); ++i) {
      EXPECT_EQ(messages[i].sequence, messages[i - 1].sequence + 1);
      EXPECT_GE(messages[i].at_ns, messages[i - 1].at_ns);
      EXPECT_GE(messages[i].ran_ns, messages[i - 1].ran_ns);
      EXPECT_EQ(messages[i].tid, messages[0].tid);
      if (messages[i].type == kThreadWakeup) {
        EXPECT_FALSE(runnable) << i;
        runnable = true;
      } else if (messages[i].type == kThreadBlocked) {
        EXPECT_TRUE(runnable) << i;
        runnable = false;
      } else {
        EXPECT_EQ(messages[i].type, kThreadDead);
      }
    }
  }
  EXPECT_GE(CountOf(all, kThreadBlocked), 3u);
  EXPECT_EQ(kernel->threads(), 0u);
}

TEST_F(TracingTest, StaleTransactionsAreRefused) {
  Burners burners(1, 3'000'000'000);
  const auto kernel = Make();
  NEEDS_TRACING(kernel);
  const QueueId queue = Listen(*kernel);
  ASSERT_TRUE(kernel->ConfigureWake(queue, 0));
  ASSERT_TRUE(kernel->Add(burners->pid()));
  const pid_t tid = burners.lane(0).tid;
  std::vector<Message> all = Collect(*kernel, queue, [](const auto& messages) {
    return messages.size() == 2;
  });
  Message last{};
  for (const Message& message : all)
    if (message.tid == tid) last = message;
  ASSERT_EQ(last.type, kThreadCreated);

  Transaction transaction{.thread = last.thread,
                          .core = 0,
                          .flags = kCheckThread | kCheckAgent,
                          .thread_sequence = last.sequence,
                          .agent_sequence = kernel->AgentSequence(0),
                          .agent = 0,
                          .result = kCommitNone};
  const auto commit = [&] {
    kernel->Commit({&transaction, 1});
    return static_cast<CommitResult>(transaction.result);
  };
  EXPECT_EQ(commit(), kCommitNotRunnable);
  burners.Open(0);
  ASSERT_TRUE(Eventually([&] { return burners.lane(0).began_ns != 0; }));
  EXPECT_EQ(commit(), kCommitStaleAgent);
  transaction.agent_sequence = kernel->AgentSequence(0);
  EXPECT_EQ(commit(), kCommitStaleThread);
  StatusWord status{};
  ASSERT_TRUE(kernel->Read(last.thread, status));
  EXPECT_EQ(status.flags, uint32_t{kStatusRunnable});
  transaction.thread_sequence = status.sequence;
  EXPECT_EQ(commit(), kCommitted);
  EXPECT_EQ(SettingsOf(tid).policy, uint32_t{SCHED_FIFO});
  EXPECT_EQ(commit(), kCommitOnCore);
  ASSERT_TRUE(kernel->Read(last.thread, status));
  EXPECT_EQ(status.flags, uint32_t{kStatusRunnable | kStatusOnCore});
  transaction.core = 1;
  EXPECT_EQ(commit(), kCommitBadCore);
  transaction.core = 0;
  transaction.thread += uint64_t{1} << 32;
  EXPECT_EQ(commit(), kCommitNotFound);
  transaction.thread = 0;
  EXPECT_EQ(commit(), kCommitNotSupported);
}

// Threads that nobody committed run, too: siblings cannot be kept in one trust domain.
TEST_F(TracingTest, CoreSchedulingIsRefused) {
  const auto kernel = Make({});
  NEEDS_TRACING(kernel);
  AgentOptions options = AgentsOf("rr", 1ms);
  options.core_scheduling = true;
  options.siblings = std::vector<uint32_t>(kernel->cores());
  options.trust = [](int32_t tid) { return static_cast<TrustDomain>(tid); };
  const auto driver = Driver::Start(*kernel, *kernel, options);
  ASSERT_FALSE(driver);
  EXPECT_EQ(driver.error().code, ErrorCode::kUnsupported);
  EXPECT_THAT(driver.error().message,
              HasSubstr("tracing, threads that nobody committed run"));
}

// ---- Schedules --------------------------------------------------------------

TEST_F(TracingTest, FirstComeFirstServed) {
  constexpr int kThreads = 4;
  Burners burners(kThreads, 40'000'000, 0, Burners::Gates::kFirstOpensAll);
  const auto kernel = Make();
  NEEDS_TRACING(kernel);
  const auto driver = Drive(*kernel, AgentsOf("fifo"));
  ASSERT_NE(driver, nullptr);
  ASSERT_TRUE(kernel->Add(burners->pid()));
  burners.Open(0);
  EXPECT_TRUE(burners->Ends());
  EXPECT_EQ(driver->Ended(), "");
  // Each has the CPU to itself for 40 ms, in the order in which they came.
  for (int i = 1; i < kThreads; ++i) {
    const uint64_t gap =
        burners.lane(i).ended_ns - burners.lane(i - 1).ended_ns;
    EXPECT_GT(burners.lane(i).ended_ns, burners.lane(i - 1).ended_ns);
    EXPECT_GT(gap, 20'000'000u) << i;
  }
}

TEST_F(TracingTest, RoundRobinSharesTheCpu) {
  constexpr int kThreads = 4;
  Burners burners(kThreads, 60'000'000, 0, Burners::Gates::kFirstOpensAll);
  const auto kernel = Make();
  NEEDS_TRACING(kernel);
  const auto driver = Drive(*kernel, AgentsOf("rr", 5ms));
  ASSERT_NE(driver, nullptr);
  ASSERT_TRUE(kernel->Add(burners->pid()));
  burners.Open(0);
  EXPECT_TRUE(burners->Ends());
  EXPECT_EQ(driver->Ended(), "");
  // All end in the last rounds, 5 ms apart at the most; by themselves they would be 60.
  uint64_t first = UINT64_MAX;
  uint64_t last = 0;
  for (int i = 0; i < kThreads; ++i) {
    first = std::min(first, burners.lane(i).ended_ns.load());
    last = std::max(last, burners.lane(i).ended_ns.load());
  }
  EXPECT_LT(last - first, 40'000'000u);
}

// ---- Whatever happens, threads get back what they had ------------------------

TEST_F(TracingTest, ThreadsLeaveWithWhatTheyHad) {
  Burners burners(2, 5'000'000'000, 7);
  const pid_t tid = burners.lane(0).tid;
  const TracedSettings before = SettingsOf(tid);
  EXPECT_EQ(before.nice, 7);
  {
    const auto kernel = Make();
    NEEDS_TRACING(kernel);
    const auto driver = Drive(*kernel, AgentsOf("fifo"));
    ASSERT_NE(driver, nullptr);
    ASSERT_TRUE(kernel->Add(burners->pid()));
    burners.Open(0);
    ASSERT_TRUE(Eventually(
        [&] { return SettingsOf(tid).policy == uint32_t{SCHED_FIFO}; }));
    EXPECT_FALSE(Same(SettingsOf(tid), before));
  }
  EXPECT_TRUE(Same(SettingsOf(tid), before));
  EXPECT_TRUE(Same(SettingsOf(burners.lane(1).tid), before));
  EXPECT_TRUE(Same(SettingsOf(burners->pid()), before));
}

TEST_F(TracingTest, AKilledAgentLeavesNothingBehind) {
  Burners burners(3, 5'000'000'000, 3);
  const TracedSettings before = SettingsOf(burners.lane(0).tid);
  const unsigned cpu = LastCpu();
  if (Make({.cpus = {cpu}}) == nullptr) GTEST_SKIP() << reason_;
  Program agent([&](Board& board) {
    const auto kernel = Make({.cpus = {cpu}});
    const auto driver = Drive(*kernel, AgentsOf("rr", 2ms));
    if (driver == nullptr || !kernel->Add(burners->pid())) return;
    board.count = static_cast<uint64_t>(kernel->guardian());
    for (;;) pause();
  });
  ASSERT_TRUE(Eventually([&] { return agent.board().count != 0; }));
  const auto guardian = static_cast<pid_t>(agent.board().count.load());
  for (int i = 0; i < 3; ++i) burners.Open(i);
  ASSERT_TRUE(Eventually([&] {
    for (int i = 0; i < 3; ++i)
      if (SettingsOf(burners.lane(i).tid).policy == uint32_t{SCHED_FIFO})
        return true;
    return false;
  }));
  kill(agent.pid(), SIGKILL);
  const uint64_t killed = MonotonicNanos();
  EXPECT_TRUE(Eventually(
      [&] {
        for (int i = 0; i < 3; ++i)
          if (!Same(SettingsOf(burners.lane(i).tid), before)) return false;
        return Same(SettingsOf(burners->pid()), before);
      },
      1));
  RecordProperty("restored_us",
                 static_cast<int>((MonotonicNanos() - killed) / 1000));
  EXPECT_TRUE(Eventually([&] { return HasEnded(guardian); }));
}

TEST_F(TracingTest, WithoutItsGuardianAnAgentStops) {
  Burners burners(1, 5'000'000'000);
  const pid_t tid = burners.lane(0).tid;
  const TracedSettings before = SettingsOf(tid);
  auto kernel = Make();
  NEEDS_TRACING(kernel);
  auto driver = Drive(*kernel, AgentsOf("fifo"));
  ASSERT_NE(driver, nullptr);
  ASSERT_TRUE(kernel->Add(burners->pid()));
  burners.Open(0);
  ASSERT_TRUE(Eventually(
      [&] { return SettingsOf(tid).policy == uint32_t{SCHED_FIFO}; }));
  kill(kernel->guardian(), SIGKILL);
  pollfd ended{
      .fd = driver->ended_descriptor(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(poll(&ended, 1, 2000), 1);
  EXPECT_THAT(driver->Ended(), HasSubstr("guardian"));
  driver.reset();
  EXPECT_TRUE(Eventually([&] { return SettingsOf(tid).policy == 0; }));
  kernel.reset();
  EXPECT_TRUE(Same(SettingsOf(tid), before));
}

// One that runs keeps another waiting, and no agent looks.
TEST_F(TracingTest, TheWatchdogEndsAnEnclaveWhoseThreadsWait) {
  Burners burners(2, 5'000'000'000);
  const auto kernel = Make({.watchdog = 200ms});
  NEEDS_TRACING(kernel);
  const QueueId queue = Listen(*kernel);
  ASSERT_TRUE(kernel->Add(burners->pid()));
  burners.Open(0);
  burners.Open(1);
  const pid_t tid = burners.lane(0).tid;
  ThreadId thread = 0;
  ASSERT_TRUE(Eventually([&] {
    Message message{};
    while (kernel->Receive(queue, message))
      if (message.tid == tid && message.type == kThreadWakeup)
        thread = message.thread;
    return thread != 0;
  }));
  Transaction transaction{.thread = thread, .core = 0, .flags = 0};
  kernel->Commit({&transaction, 1});
  ASSERT_EQ(transaction.result, uint32_t{kCommitted});
  ASSERT_TRUE(Eventually([&] { return !kernel->Ended().empty(); }));
  EXPECT_THAT(kernel->Ended(), HasSubstr("could run and was on no CPU"));
  EXPECT_TRUE(Eventually([&] { return SettingsOf(tid).policy == 0; }));
  kernel->Commit({&transaction, 1});
  EXPECT_EQ(transaction.result, uint32_t{kCommitUnavailable});
}

TEST_F(TracingTest, TheWatchdogEndsAnAgentThatNeverSleeps) {
  const auto kernel = Make({.agent_limit = 100ms});
  NEEDS_TRACING(kernel);
  std::atomic<bool> lowered{false};
  std::thread agent([&] {
    if (!kernel->EnterAgent(0)) return;
    kernel->AgentAwake(0);
    const uint64_t end = MonotonicNanos() + 2'000'000'000;
    while (MonotonicNanos() < end && !lowered)
      lowered = SettingsOf(0).policy == 0;
    kernel->LeaveAgent(0);
  });
  agent.join();
  EXPECT_TRUE(lowered);
  EXPECT_THAT(kernel->Ended(), HasSubstr("has not slept"));
}

// ---- Limits -----------------------------------------------------------------

TEST_F(TracingTest, LostMessagesAreMadeUpFor) {
  constexpr int kThreads = 4;
  Gate gate;
  Program program([&](Board&) {
    std::vector<std::thread> all;
    for (int i = 0; i < kThreads; ++i) {
      all.emplace_back([&] {
        gate.Wait();
        for (int j = 0; j < 60; ++j) NapMs(1);
        Burn(10'000'000);
      });
    }
    for (std::thread& thread : all) thread.join();
  });
  const auto kernel = Make();
  NEEDS_TRACING(kernel);
  AgentOptions options = AgentsOf("rr", 2ms);
  options.queue_capacity = 1;
  auto agents = Agents::Create(*kernel, options, Clock::now());
  ASSERT_TRUE(agents) << agents.error().message;
  ASSERT_TRUE(kernel->Add(program.pid()));
  gate.Open(kThreads);
  ASSERT_TRUE(Eventually([&] { return kernel->counts().lost_messages > 0; }));
  ASSERT_TRUE(Eventually([&] {
    (*agents)->Pass(0, Clock::now());
    return kernel->threads() == 0;
  }));
  EXPECT_TRUE(program.Ends());
  EXPECT_GT(kernel->counts().results[kCommitted], 0u);
}

TEST_F(TracingTest, RealTimeThreadsAreLeftAlone) {
  Gate gate;
  Program program([&](Board& board) {
    MakeFifo(0, 1);
    board.ready = 1;
    gate.Wait();
  });
  ASSERT_TRUE(Eventually([&] { return program.board().ready == 1; }));
  const auto kernel = Make();
  NEEDS_TRACING(kernel);
  const auto joined = kernel->Add(program.pid());
  ASSERT_TRUE(joined);
  EXPECT_EQ(joined->threads, 0u);
  ASSERT_EQ(joined->refused.size(), 1u);
  EXPECT_THAT(joined->refused[0], HasSubstr("class 1 of its own"));
  EXPECT_EQ(SettingsOf(program.pid()).policy, uint32_t{SCHED_FIFO});
}

TEST_F(TracingTest, OptionsThatCannotBeAreRefused) {
  const auto message = [](const TracingKernel::Options& options) {
    const auto kernel = TracingKernel::Create(options);
    return kernel ? std::string() : kernel.error().message;
  };
  EXPECT_THAT(message({}), HasSubstr("no CPUs"));
  EXPECT_THAT(message({.cpus = {0, 0}}), HasSubstr("twice"));
  EXPECT_THAT(message({.cpus = {1023}}), HasSubstr("CPU 1023"));
  EXPECT_THAT(message({.cpus = {0}, .max_threads = 0}),
              HasSubstr("max_threads"));
  EXPECT_THAT(message({.cpus = {0}, .priority = 98}), HasSubstr("1 .. 97"));
}

}  // namespace
}  // namespace yamanote::native
