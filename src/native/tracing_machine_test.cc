// tracing_machine_test.cc - the tracing back-end on all CPUs, and what programs may do.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "native/tracing.h"
#include "native/tracing_fixture.h"

namespace yamanote::native {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

class TracingMachineTest : public TracingTest {
 protected:
  std::vector<unsigned> AllCpus() {
    std::vector<unsigned> cpus;
    const TracedSettings own = SettingsOf(0);
    for (unsigned cpu = 0; cpu < kTracedCpus && cpus.size() < 4; ++cpu)
      if (MaskHas(own.affinity, cpu)) cpus.push_back(cpu);
    return cpus;
  }
};

// ---- Several cores ----------------------------------------------------------

TEST_F(TracingMachineTest, AnAgentForEachCoreSpreadsTheWork) {
  constexpr int kThreads = 6;
  Burners burners(kThreads, 40'000'000);
  const auto kernel = Make({.cpus = AllCpus()});
  NEEDS_TRACING(kernel);
  const auto driver =
      Drive(*kernel, AgentsOf("rr", 5ms, PlacementKind::kStealing));
  ASSERT_NE(driver, nullptr);
  ASSERT_TRUE(kernel->Add(burners->pid()));
  for (int i = 0; i < kThreads; ++i) burners.Open(i);
  EXPECT_TRUE(burners->Ends());
  EXPECT_EQ(driver->Ended(), "");
  const TracingKernel::Counts counts = kernel->counts();
  EXPECT_GT(counts.results[kCommitted], uint64_t{kThreads});
}

TEST_F(TracingMachineTest, OneAgentForAllCoresSpreadsTheWork) {
  constexpr int kThreads = 6;
  Burners burners(kThreads, 40'000'000);
  const auto kernel = Make({.cpus = AllCpus()});
  NEEDS_TRACING(kernel);
  const auto driver = Drive(*kernel, AgentsOf("rr", 5ms));
  ASSERT_NE(driver, nullptr);
  ASSERT_TRUE(kernel->Add(burners->pid()));
  for (int i = 0; i < kThreads; ++i) burners.Open(i);
  EXPECT_TRUE(burners->Ends());
  EXPECT_EQ(driver->Ended(), "");
}

TEST_F(TracingMachineTest, APollingAgentLeavesItsCoreToNobody) {
  if (AllCpus().size() < 2) GTEST_SKIP() << "needs two CPUs";
  constexpr int kThreads = 2;
  Burners burners(kThreads, 40'000'000);
  const auto kernel = Make({.cpus = AllCpus()});
  NEEDS_TRACING(kernel);
  AgentOptions options = AgentsOf("rr", 1ms);
  options.own_core = true;
  const auto driver = Drive(*kernel, options);
  ASSERT_NE(driver, nullptr);
  ASSERT_TRUE(kernel->Add(burners->pid()));
  for (int i = 0; i < kThreads; ++i) burners.Open(i);
  EXPECT_TRUE(burners->Ends());
  EXPECT_EQ(driver->Ended(), "");
}

// Its own affinity is respected, and what it makes of it while it is managed.
TEST_F(TracingMachineTest, AThreadRunsOnlyWhereItMay) {
  const std::vector<unsigned> cpus = AllCpus();
  if (cpus.size() < 2) GTEST_SKIP() << "needs two CPUs";
  Gate gate;
  Program program([&](Board& board) {
    PinTo(0, cpus[0]);
    board.ready = 1;
    gate.Wait();
    for (int i = 0; i < 20; ++i) {
      if (static_cast<unsigned>(sched_getcpu()) != cpus[0]) ++board.count;
      Burn(1'000'000);
      NapMs(1);
    }
    PinTo(0, cpus[1]);
    for (int i = 0; i < 20; ++i) {
      NapMs(1);
      // The first commit after that has noticed.
      if (i > 0 && static_cast<unsigned>(sched_getcpu()) != cpus[1])
        ++board.count;
      Burn(1'000'000);
    }
    board.ready = 2;
    gate.Wait();
  });
  ASSERT_TRUE(Eventually([&] { return program.board().ready == 1; }));
  auto kernel = Make({.cpus = cpus});
  NEEDS_TRACING(kernel);
  auto driver = Drive(*kernel, AgentsOf("fifo"));
  ASSERT_NE(driver, nullptr);
  ASSERT_TRUE(kernel->Add(program.pid()));
  gate.Open();
  ASSERT_TRUE(Eventually([&] { return program.board().ready == 2; }));
  EXPECT_EQ(program.board().count, 0u);
  driver.reset();
  kernel.reset();
  const TracedSettings after = SettingsOf(program.pid());
  EXPECT_TRUE(MaskHas(after.affinity, cpus[1]));
  EXPECT_FALSE(MaskHas(after.affinity, cpus[0]));
}

// ---- What programs do -------------------------------------------------------

TEST_F(TracingMachineTest, AnUnmodifiedProgramAndItsChildren) {
  Gate gate;
  Program program([&](Board&) {
    gate.Wait();
    execlp("sh", "sh", "-c",
           "for i in 1 2 3 4; do (j=0; while [ $j -lt 2000 ]; do "
           "j=$((j+1)); done; true) & done; wait; ls / | sort > /dev/null",
           nullptr);
  });
  const auto kernel = Make();
  NEEDS_TRACING(kernel);
  const auto driver = Drive(*kernel, AgentsOf("rr", 2ms));
  ASSERT_NE(driver, nullptr);
  ASSERT_TRUE(kernel->Add(program.pid()));
  gate.Open();
  EXPECT_TRUE(program.Ends());
  EXPECT_EQ(driver->Ended(), "");
  EXPECT_TRUE(Eventually([&] { return kernel->threads() == 0; }));
}

// A thread that is not the first one takes its process' number with exec().
TEST_F(TracingMachineTest, ExecByAnotherThread) {
  Gate gate;
  Program program([&](Board&) {
    std::thread([&] {
      gate.Wait();
      execlp("sleep", "sleep", "10", nullptr);
    }).join();
  });
  const auto kernel = Make();
  NEEDS_TRACING(kernel);
  const auto driver = Drive(*kernel, AgentsOf("fifo"));
  ASSERT_NE(driver, nullptr);
  ASSERT_TRUE(Eventually([&] {
    const auto joined = kernel->Add(program.pid());
    return joined && kernel->threads() == 2;
  }));
  gate.Open();
  std::vector<int32_t> tids;
  EXPECT_TRUE(Eventually([&] {
    tids.clear();
    kernel->ForEachThread(
        [&](const StatusWord& status) { tids.push_back(status.tid); });
    return tids == std::vector<int32_t>{program.pid()};
  })) << tids.size();
  EXPECT_EQ(kernel->Remove(program.pid()), 1u);
}

TEST_F(TracingMachineTest, ThreadsLeaveWhenTheyAreTold) {
  Burners burners(2, 3'000'000'000, 4);
  const pid_t tid = burners.lane(0).tid;
  const TracedSettings before = SettingsOf(tid);
  const auto kernel = Make();
  NEEDS_TRACING(kernel);
  const auto driver = Drive(*kernel, AgentsOf("fifo"));
  ASSERT_NE(driver, nullptr);
  for (int i = 0; i < 3; ++i) {
    const auto joined = kernel->Add(burners->pid());
    ASSERT_TRUE(joined) << joined.error().message;
    EXPECT_EQ(joined->threads, 3u);
    if (i == 0) burners.Open(0);
    ASSERT_TRUE(Eventually(
        [&] { return SettingsOf(tid).policy == uint32_t{SCHED_FIFO}; }));
    EXPECT_EQ(kernel->Remove(burners->pid()), 3u);
    EXPECT_TRUE(Same(SettingsOf(tid), before));
    EXPECT_EQ(kernel->threads(), 0u);
  }
  EXPECT_EQ(driver->Ended(), "");
}

// Children for which there is no room are set free by the guardian.
TEST_F(TracingMachineTest, StraysAreSetFree) {
  Gate gate;
  Program program([&](Board& board) {
    TracedSettings nice = SettingsOf(0);
    nice.nice = 5;
    RestoreClass(0, nice);
    board.ready = 1;
    gate.Wait();
    for (int i = 0; i < 3; ++i) {
      const pid_t child = fork();
      if (child == 0) {
        pause();
        _exit(0);
      }
      board.lanes[i].tid = child;
    }
    board.ready = 2;
    gate.Wait();
    for (int i = 0; i < 3; ++i) kill(board.lanes[i].tid, SIGKILL);
  });
  ASSERT_TRUE(Eventually([&] { return program.board().ready == 1; }));
  const TracedSettings before = SettingsOf(program.pid());
  const auto kernel = Make({.max_threads = 1});
  NEEDS_TRACING(kernel);
  const auto driver = Drive(*kernel, AgentsOf("fifo"));
  ASSERT_NE(driver, nullptr);
  ASSERT_TRUE(kernel->Add(program.pid()));
  gate.Open();
  ASSERT_TRUE(Eventually([&] { return program.board().ready == 2; }));
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(Eventually([&] {
      return Same(SettingsOf(program.board().lanes[i].tid), before);
    })) << i;
  }
  gate.Open();
  EXPECT_TRUE(program.Ends());
}

// What it asks for while it is managed is what it gets back.
TEST_F(TracingMachineTest, ANewNiceValueIsKept) {
  Gate gate;
  Program program([&](Board& board) {
    gate.Wait();
    NapMs(1);
    TracedSettings nice = SettingsOf(0);
    nice.nice = 9;
    nice.policy = 0;
    nice.runtime = 0;
    nice.flags = 0;
    RestoreClass(0, nice);
    NapMs(5);
    board.ready = 1;
    for (;;) NapMs(1);
  });
  auto kernel = Make();
  NEEDS_TRACING(kernel);
  auto driver = Drive(*kernel, AgentsOf("fifo"));
  ASSERT_NE(driver, nullptr);
  ASSERT_TRUE(kernel->Add(program.pid()));
  gate.Open();
  ASSERT_TRUE(Eventually([&] { return program.board().ready == 1; }));
  driver.reset();
  kernel.reset();
  // It had a real-time priority when it asked, or not: its class is an ordinary one again.
  EXPECT_EQ(SettingsOf(program.pid()).policy, 0u);
}

TEST_F(TracingMachineTest, ACpuBelongsToOneEnclave) {
  const unsigned cpu = LastCpu();
  auto kernel = Make({.cpus = {cpu}});
  NEEDS_TRACING(kernel);
  const auto another = TracingKernel::Create({.cpus = {cpu}});
  ASSERT_FALSE(another);
  EXPECT_EQ(another.error().code, ErrorCode::kUnavailable);
  EXPECT_THAT(another.error().message, HasSubstr("another enclave"));
  kernel.reset();
  EXPECT_NE(Make({.cpus = {cpu}}), nullptr);
}

TEST_F(TracingMachineTest, AnAgentDoesNotScheduleItself) {
  const auto kernel = Make();
  NEEDS_TRACING(kernel);
  const auto joined = kernel->Add(getpid());
  ASSERT_FALSE(joined);
  EXPECT_THAT(joined.error().message, HasSubstr("themselves"));
  EXPECT_EQ(kernel->Add(0x3ffffff).error().code, ErrorCode::kNotFound);
  // The kernel's own.
  const auto kthread = kernel->Add(2);
  ASSERT_TRUE(kthread);
  EXPECT_EQ(kthread->threads, 0u);
}

}  // namespace
}  // namespace yamanote::native
