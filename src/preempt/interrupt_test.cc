// interrupt_test.cc - where an interrupted thread goes on, and where it is left
// alone. Tasks that are interrupted are in src/worker/interrupt_test.cc.

#include "preempt/interrupt.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>
#include <string>
#include <thread>

#include "base/topology.h"
#include "base/under_tsan.h"
#include "preempt/inject.h"
#include "preempt/mechanism.h"
#include "preempt/probe.h"
#include "preempt/timekeeper.h"
#include "preempt/user_interrupt.h"
#include "yamanote/preempt.h"

namespace yamanote::preempt {
namespace {

using namespace std::chrono_literals;

pid_t OwnTid() { return static_cast<pid_t>(syscall(SYS_gettid)); }

RunningTask g_task{};
std::atomic<int> g_ticks{0};
std::atomic<int> g_hits{0};

Host TestHost() {
  return {.current = [] { return g_task; }, .tick = [] { ++g_ticks; }};
}

class InterruptTest : public testing::Test {
 protected:
  InterruptTest() {
    g_hits = 0;
    g_task = {.name = "test", .id = 7, .stack_bottom = 0};
    SetHandler([] {
      Answer(OwnState());
      ++g_hits;
    });
    InstallInterrupts(TestHost(), /*injects=*/true, /*user_interrupts=*/false);
  }
  ~InterruptTest() override {
    OwnState().flag = 0;
    OwnState().guard = 0;
    SetHandler(nullptr);
    signal(kSignalNumber, SIG_DFL);
  }
};

// What the handler sees of a thread that stands in marked code.
YAMANOTE_INTERRUPTIBLE void Marked() { asm volatile(""); }
void NotMarked() { asm volatile(""); }

struct Injected {
  uintptr_t ip = 0;
  bool moved = false;
};

Injected TryAt(void (*where)(), uintptr_t room = 1 << 16) {
  alignas(16) static char stack[1 << 17];
  g_task.stack_bottom = reinterpret_cast<uintptr_t>(stack);
  uintptr_t ip = reinterpret_cast<uintptr_t>(where);
  uintptr_t sp = g_task.stack_bottom + room;
  const uintptr_t before = ip;
  InjectProbe(ip, sp, g_task);
  return {.ip = ip, .moved = ip != before};
}

TEST_F(InterruptTest, OnlyMarkedCodeWithAFlagIsInterrupted) {
  EXPECT_FALSE(TryAt(&Marked).moved) << "nobody asked";
  Ask(OwnState(), {});
  EXPECT_TRUE(TryAt(&Marked).moved);
  EXPECT_FALSE(TryAt(&NotMarked).moved);
}

TEST_F(InterruptTest, GuardsHoldItOff) {
  Ask(OwnState(), {});
  {
    ++OwnState().disabled;
    EXPECT_FALSE(TryAt(&Marked).moved);
    --OwnState().disabled;
  }
  OwnState().guard = UINTPTR_MAX;
  EXPECT_FALSE(TryAt(&Marked).moved);
  OwnState().guard = 0;
  EXPECT_TRUE(TryAt(&Marked).moved);
}

TEST_F(InterruptTest, AStackThatIsNearlyFullIsLeftAlone) {
  Ask(OwnState(), {});
  EXPECT_FALSE(TryAt(&Marked, 4 * 1024).moved);
  EXPECT_TRUE(TryAt(&Marked, 16 * 1024).moved);
}

TEST_F(InterruptTest, NoTaskIsLeftAlone) {
  Ask(OwnState(), {});
  g_task.name = nullptr;
  EXPECT_FALSE(TryAt(&Marked).moved);
}

TEST(RangesTest, AddedRangesAreInterruptible) {
  static const char code[16] = {};
  const auto at = reinterpret_cast<uintptr_t>(code);
  EXPECT_FALSE(IsInterruptible(at));
  ASSERT_TRUE(AddInterruptible(code, code + sizeof(code)));
  EXPECT_TRUE(IsInterruptible(at));
  EXPECT_TRUE(IsInterruptible(at + 15));
  EXPECT_FALSE(IsInterruptible(at + 16));
}

TEST(RangesTest, WrongRangesAreRefused) {
  static const char code[16] = {};
  const Result<void> added = AddInterruptible(code + 1, code);
  ASSERT_FALSE(added);
  EXPECT_NE(added.error().message.find("end is not behind begin"),
            std::string::npos);
}

// The bits of a lost computation would show: registers, flags and the red zone.
YAMANOTE_INTERRUPTIBLE uint64_t Mix(uint64_t rounds,
                                    const std::atomic<int>& hits, int until) {
  uint64_t a = 1;
  uint64_t b = 2;
  double c = 1;
  for (uint64_t i = 0; i < rounds; ++i) {
    a += b ^ (a << 7);
    b = (b >> 3) | (b << 61);
    c = c * 1.0000001 + 1e-9;
    if (a > b) b += i;
    if (i + 1 == rounds && hits.load(std::memory_order_relaxed) < until) {
      a = 1;  // Not yet often enough: all over again.
      b = 2;
      c = 1;
      i = UINT64_MAX;
    }
  }
  return a ^ b ^ static_cast<uint64_t>(c * 1e9);
}

constexpr bool kSignalsAreHeldBack = YAMANOTE_UNDER_TSAN;

TEST_F(InterruptTest, AnInterruptedComputationIsUnharmed) {
  if (kSignalsAreHeldBack) GTEST_SKIP() << "ThreadSanitizer delays signals";
  constexpr uint64_t kRounds = 300'000;
  constexpr int kTimes = 50;
  const uint64_t expected = Mix(kRounds, g_hits, 0);
  SetHandler([] {
    Answer(OwnState());
    asm volatile("pcmpeqd %%xmm0, %%xmm0; pcmpeqd %%xmm1, %%xmm1" ::
                     : "xmm0", "xmm1", "cc");
    ++g_hits;
  });
  ThreadState& state = OwnState();
  const pid_t tid = OwnTid();
  std::atomic<bool> stop{false};
  std::thread other([&] {
    while (!stop) {
      Ask(state, {});
      Interrupt(state, tid, kGiveWay);
      std::this_thread::sleep_for(50us);
    }
  });
  const uint64_t mixed = Mix(kRounds, g_hits, kTimes);
  stop = true;
  other.join();
  EXPECT_EQ(mixed, expected);
  EXPECT_GE(g_hits, kTimes);
}

TEST_F(InterruptTest, AReportNamesTheTaskTheReasonAndTheStack) {
  if (kSignalsAreHeldBack) GTEST_SKIP() << "ThreadSanitizer delays signals";
  testing::internal::CaptureStderr();
  {
    const NoPreempt guard;
    Interrupt(OwnState(), OwnTid(), kReport);
  }
  const std::string text = testing::internal::GetCapturedStderr();
  EXPECT_NE(text.find("task 'test' (7)"), std::string::npos) << text;
  EXPECT_NE(text.find("within a NoPreempt"), std::string::npos) << text;
  EXPECT_NE(text.find("interrupt_test"), std::string::npos)
      << "the stack: " << text;
}

std::atomic<int> g_former{0};

TEST(InterruptFormerTest, TheProgramsOwnHandlerStillGetsItsSignals) {
  signal(kSignalNumber, [](int) { ++g_former; });
  InstallInterrupts(TestHost(), /*injects=*/false, /*user_interrupts=*/false);
  raise(kSignalNumber);
  EXPECT_EQ(g_former, 1);
  Interrupt(OwnState(), OwnTid(), kGiveWay);
  EXPECT_EQ(g_former, 1) << "that one was ours";
  signal(kSignalNumber, SIG_DFL);
}

TEST(InterruptFormerTest, AFormerDispositionWithoutAHandlerCallsNothing) {
  for (const auto handler : {SIG_IGN, SIG_DFL}) {
    struct sigaction former{};
    former.sa_handler = handler;
    former.sa_flags = SA_SIGINFO;
    ASSERT_EQ(sigaction(kSignalNumber, &former, nullptr), 0);
    InstallInterrupts(TestHost(), /*injects=*/false, /*user_interrupts=*/false);
    raise(kSignalNumber);  // Not ours: the former one's.
  }
  signal(kSignalNumber, SIG_DFL);
}

TEST_F(InterruptTest, AThreadThatComputesHearsTheKernelsTick) {
  const Tick tick;
  g_ticks = 0;
  // Bounded by ctest's time-out. A system call, where ThreadSanitizer delivers.
  while (g_ticks == 0) static_cast<void>(OwnTid());
}

TEST(WaitedForCpuTest, ADelayIsReadAndAnUnknownThreadHasNone) {
  EXPECT_GE(WaitedForCpu(OwnTid()), Duration::zero());
  EXPECT_LT(WaitedForCpu(OwnTid()), 1h);
  EXPECT_EQ(WaitedForCpu(0), Duration::zero());
}

// A core that stands still, with something waiting.
class StuckCore final : public Cores {
 public:
  uint64_t Progress(CoreId) const override { return 1; }
  bool Waits(CoreId) const override { return true; }
};

// What ends then (its receiver, its thread) nobody uses any more.
TEST(TimekeeperTest, AThreadThatHasLeftIsNeitherAskedNorInterrupted) {
  if (kSignalsAreHeldBack) GTEST_SKIP() << "ThreadSanitizer delays signals";
  signal(kSignalNumber, [](int) { ++g_hits; });
  g_hits = 0;
  const StuckCore cores;
  Timekeeper timekeeper(cores, {.slices = {1us}, .interrupt_after = 1us});
  Instant now = Clock::now();
  const auto keep = [&] {
    for (int i = 0; i < 10; ++i) timekeeper.Keep(now += 1ms);
  };
  timekeeper.Enter(0);
  keep();
  EXPECT_EQ(OwnState().flag, 1);
  EXPECT_GE(g_hits, 1);
  timekeeper.Exit(0);
  EXPECT_EQ(OwnState().flag, 0);
  g_hits = 0;
  OwnState().interrupts = 0;
  keep();
  EXPECT_EQ(OwnState().flag, 0);
  EXPECT_EQ(g_hits, 0);
  signal(kSignalNumber, SIG_DFL);
}

// A task whose slice is longer than the core's least answers each time, and runs on.
TEST(TimekeeperTest, WhoAnswersIsNeitherInterruptedNorReported) {
  const StuckCore cores;
  for (const bool answers : {true, false}) {
    SCOPED_TRACE(answers);
    signal(kSignalNumber, SIG_IGN);
    OwnState().interrupts = 0;
    Timekeeper timekeeper(
        cores, {.slices = {1us}, .interrupt_after = 20us, .watchdog = 20us});
    timekeeper.Enter(0);
    Instant now = Clock::now();
    for (int i = 0; i < 1000; ++i) {
      timekeeper.Keep(now += 1us);
      if (answers && OwnState().flag != 0) Answer(OwnState());
    }
    EXPECT_EQ(OwnState().interrupts != 0, !answers);
    EXPECT_TRUE(!answers || timekeeper.held_off() == 0);
    timekeeper.Exit(0);
    OwnState().interrupts = 0;
    signal(kSignalNumber, SIG_DFL);
  }
}

// Counts the looks after its core.
class LookedAtCore final : public Cores {
 public:
  uint64_t Progress(CoreId) const override { return ++looks_; }
  bool Waits(CoreId) const override { return false; }
  int looks() const { return static_cast<int>(looks_); }

 private:
  mutable uint64_t looks_ = 0;
};

TEST(TimekeeperTest, WhoKeepsTimeGoesOnUntilItIsLate) {
  const LookedAtCore core;
  Timekeeper timekeeper(core, {.slices = {32us}});  // A look each 1 us.
  timekeeper.Enter(0);
  const auto another_keeps = [&](Instant now) {
    std::thread([&] { timekeeper.Keep(now); }).join();
  };
  const Instant begin = Clock::now();
  timekeeper.Keep(begin);
  EXPECT_EQ(core.looks(), 1);
  another_keeps(begin + 1us);
  EXPECT_EQ(core.looks(), 1);
  timekeeper.Keep(begin + 1us);
  EXPECT_EQ(core.looks(), 2);
  another_keeps(begin + 9us);  // Late by a quarter of a slice.
  EXPECT_EQ(core.looks(), 3);
  timekeeper.Keep(begin + 11us);
  EXPECT_EQ(core.looks(), 3);
  timekeeper.Exit(0);
}

TEST(TimekeeperTest, LooksAreAsRareAsSlicesAreLong) {
  const LookedAtCore core;
  AdaptiveSlice slice(2us, 200us, 1);
  ASSERT_EQ(slice.current(), 22'627ns);
  Timekeeper timekeeper(core, {.slices = {2us}, .adaptive = &slice});
  timekeeper.Enter(0);
  const Instant begin = Clock::now();
  for (int i = 0; i < 200; ++i) timekeeper.Keep(begin + i * 100ns);
  EXPECT_NEAR(core.looks(), 28, 4);  // 20 us in steps of 22.6 / 32.
  timekeeper.Exit(0);
}

// As the first of Intel's patches: closing a descriptor frees its index for whoever is next.
class FakeKernel {
 public:
  long Enroll(int descriptor) {
    ++calls;
    for (long index = 0; index < 256; ++index) {
      if (descriptors_[static_cast<size_t>(index)] != 0) continue;
      descriptors_[static_cast<size_t>(index)] = descriptor;
      return index;
    }
    return -1;
  }
  void Close(int descriptor) {
    for (int& each : descriptors_)
      if (each == descriptor) each = 0;
  }
  int DescriptorOf(long index) const {
    return descriptors_[static_cast<size_t>(index)];
  }

  int calls = 0;

 private:
  std::array<int, 256> descriptors_{};
};

TEST(SenderIndexesTest, EachReceiverIsEnrolledOnce) {
  FakeKernel kernel;
  SenderIndexes indexes;
  const auto enroll = [&](int descriptor) { return kernel.Enroll(descriptor); };
  const long first = indexes.Find({.count = 1, .descriptor = 7}, enroll);
  const long second = indexes.Find({.count = 2, .descriptor = 8}, enroll);
  EXPECT_NE(first, second);
  EXPECT_EQ(indexes.Find({.count = 1, .descriptor = 7}, enroll), first);
  EXPECT_EQ(indexes.Find({.count = 2, .descriptor = 8}, enroll), second);
  EXPECT_EQ(kernel.calls, 2);
}

// The index that was remembered for the former one is another receiver's by now.
TEST(SenderIndexesTest, TheNextReceiverWithADescriptorGetsAnIndexOfItsOwn) {
  FakeKernel kernel;
  SenderIndexes indexes;
  const auto enroll = [&](int descriptor) { return kernel.Enroll(descriptor); };
  const long former = indexes.Find({.count = 1, .descriptor = 7}, enroll);
  kernel.Close(7);
  const long other = indexes.Find({.count = 2, .descriptor = 8}, enroll);
  ASSERT_EQ(other, former);
  const long next = indexes.Find({.count = 3, .descriptor = 7}, enroll);
  EXPECT_EQ(kernel.DescriptorOf(next), 7);
  EXPECT_EQ(indexes.Find({.count = 3, .descriptor = 7}, enroll), next);
  EXPECT_EQ(indexes.Find({.count = 2, .descriptor = 8}, enroll), other);
  EXPECT_EQ(kernel.calls, 3);
}

TEST(SenderIndexesTest, ARefusalIsNotRememberedAndTheTableIsBounded) {
  FakeKernel kernel;
  SenderIndexes indexes;
  const auto enroll = [&](int descriptor) { return kernel.Enroll(descriptor); };
  const auto refuse = [](int) { return -1L; };
  EXPECT_LT(indexes.Find({.count = 1, .descriptor = 1}, refuse), 0);
  for (int i = 1; i <= static_cast<int>(SenderIndexes::kMost); ++i) {
    ASSERT_GE(indexes.Find({.count = static_cast<uint32_t>(i), .descriptor = i},
                           enroll),
              0);
  }
  EXPECT_LT(indexes.Find({.count = 999, .descriptor = 999}, enroll), 0);
  EXPECT_EQ(kernel.calls, 256) << "not asked in vain";
  // One has ended: its place is free for the next that has its descriptor.
  kernel.Close(5);
  EXPECT_EQ(indexes.Find({.count = 1000, .descriptor = 5}, enroll), 4);
}

TEST(MechanismTest, SignalsAreChosenWhereCodeIsMarked) {
  if (kSignalsAreHeldBack) {
    EXPECT_EQ(Choose(Mechanism::kAuto).value(), Mechanism::kProbe);
    return;
  }
  EXPECT_EQ(Choose(Mechanism::kSignal).value(), Mechanism::kSignal);
  EXPECT_EQ(Choose(Mechanism::kNone).value(), Mechanism::kNone);
  if (!Check(Mechanism::kUserInterrupt).available) {
    EXPECT_EQ(Choose(Mechanism::kAuto).value(), Mechanism::kSignal);
  }
}

TEST(MechanismTest, WhatIsNotThereSaysWhatIsMissing) {
  const Capability capability = Check(Mechanism::kUserInterrupt);
  const Result<Mechanism> chosen = Choose(Mechanism::kUserInterrupt);
  EXPECT_EQ(chosen.has_value(), capability.available);
  if (chosen) return;
  EXPECT_NE(chosen.error().message.find(capability.why), std::string::npos);
}

TEST(MechanismTest, ASignalsCostIsMeasured) {
  const Duration cost = MeasureSignal();
  EXPECT_GT(cost, Duration::zero());
  // A round ends after 5 ms, unless its core is taken away.
  EXPECT_LT(cost, 1s);
}

// On one CPU, where the thread that measures is interrupted itself: how long that
// takes does not depend on what else the machine does.
TEST(MechanismTest, ASignalsCostIsMeasuredWhereSignalsAreBlocked) {
  if (kSignalsAreHeldBack) GTEST_SKIP() << "ThreadSanitizer delays signals";
  Duration cost{};
  std::thread([&cost] {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(static_cast<size_t>(base::AllowedCpus().front()), &one);
    ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
    sigset_t all;
    sigset_t after;
    sigfillset(&all);
    ASSERT_EQ(pthread_sigmask(SIG_SETMASK, &all, nullptr), 0);
    cost = MeasureSignal();
    ASSERT_EQ(pthread_sigmask(SIG_SETMASK, nullptr, &after), 0);
    EXPECT_EQ(sigismember(&after, kSignalNumber), 1) << "the mask is as it was";
  }).join();
  EXPECT_GT(cost, Duration::zero());
  EXPECT_LT(cost, 5ms) << "no signal came: the bound of each round";
}

TEST(TickTest, ATimerThatIsRefusedIsReported) {
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_SIGPENDING, &before), 0);
  rlimit none = before;
  none.rlim_cur = 0;
  ASSERT_EQ(setrlimit(RLIMIT_SIGPENDING, &none), 0);
  testing::internal::CaptureStderr();
  {
    const Tick tick;
  }
  const std::string text = testing::internal::GetCapturedStderr();
  ASSERT_EQ(setrlimit(RLIMIT_SIGPENDING, &before), 0);
  EXPECT_NE(text.find("ulimit -i"), std::string::npos) << text;
}

}  // namespace
}  // namespace yamanote::preempt
