// interrupt_test.cc - where an interrupted thread goes on, and where it is left
// alone. Tasks that are interrupted are in src/worker/interrupt_test.cc.

#include "preempt/interrupt.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <mutex>
#include <random>
#include <string>
#include <thread>

#include "base/topology.h"
#include "base/under_tsan.h"
#include "preempt/inject.h"
#include "preempt/mechanism.h"
#include "preempt/probe.h"
#include "preempt/registers_test.h"
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

// Waits until interrupt_test_next is interrupt_test_on, with every arithmetic flag
// set and something in the red zone; changes no register, and reads both at the end.
extern "C" {
void interrupt_test_wait();
void interrupt_test_again();
void interrupt_test_on();
void (*volatile interrupt_test_next)() = nullptr;
uint64_t interrupt_test_flags = 0;
uint64_t interrupt_test_red_zone = 0;
}
asm(".pushsection yamanote_interruptible, \"ax\", @progbits\n"
    "interrupt_test_wait:\n\t"
    "movq $0x5eed, -120(%rsp)\n\t"
    "pushq $0x8d5\n\t"
    "popfq\n"
    "interrupt_test_again:\n\t"
    "jmp *interrupt_test_next(%rip)\n"
    "interrupt_test_on:\n\t"
    "pushfq\n\t"
    "popq interrupt_test_flags(%rip)\n\t"
    "pushq -120(%rsp)\n\t"
    "popq interrupt_test_red_zone(%rip)\n\t"
    "ret\n\t"
    ".popsection");

TEST_F(InterruptTest, EveryRegisterOfInterruptedCodeIsAsItWas) {
  if (kSignalsAreHeldBack) GTEST_SKIP() << "ThreadSanitizer delays signals";
  constexpr int kTimes = 3;
  static int hits;
  SetHandler([] {
    Answer(OwnState());
    if (++hits == kTimes) interrupt_test_next = &interrupt_test_on;
    ScrambleRegisters();
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
  std::mt19937_64 random(11);
  for (int turn = 0; turn <= 2 * BestLevel() + 1; ++turn) {
    const int level = turn / 2;
    const bool x87 = turn % 2 == 1;
    SCOPED_TRACE(testing::Message() << "level " << level << ", x87 " << x87);
    static Registers in, out;
    Randomise(random, level, in);
    std::memset(&out, 0, sizeof(out));
    hits = 0;
    interrupt_test_next = &interrupt_test_again;
    interrupt_test_flags = interrupt_test_red_zone = 0;
    RoundTrip(in, out, level, x87, &interrupt_test_wait);
    EXPECT_GE(hits, kTimes);
    ExpectSame(in, out, x87, level == 2 ? 32 : 16, size_t{16} << level,
               level == 2 ? 8 : 0);
    EXPECT_EQ(interrupt_test_flags & 0x8d5, 0x8d5U);
    EXPECT_EQ(interrupt_test_red_zone, 0x5eedU);
  }
  stop = true;
  other.join();
}

std::string ReportOfThisThread() {
  testing::internal::CaptureStderr();
  Interrupt(OwnState(), OwnTid(), kReport);
  return testing::internal::GetCapturedStderr();
}

TEST_F(InterruptTest, AReportNamesTheTaskAndTheStack) {
  if (kSignalsAreHeldBack) GTEST_SKIP() << "ThreadSanitizer delays signals";
  const std::string text = ReportOfThisThread();
  EXPECT_NE(text.find("task 'test' (7)"), std::string::npos) << text;
  EXPECT_NE(text.find("interrupt_test"), std::string::npos)
      << "the stack: " << text;
}

TEST_F(InterruptTest, AReportNamesTheReason) {
  if (kSignalsAreHeldBack) GTEST_SKIP() << "ThreadSanitizer delays signals";
  using testing::HasSubstr;
  EXPECT_THAT(ReportOfThisThread(), HasSubstr("it comes to no probe"));
  {
    const NoPreempt guard;
    EXPECT_THAT(ReportOfThisThread(), HasSubstr("it is within a NoPreempt"));
    std::mutex mutex;
    const std::lock_guard lock(mutex);
    EXPECT_THAT(ReportOfThisThread(), HasSubstr("it holds a std::mutex"));
  }
  // As the plug-ins' code for a function that uses a thread_local.
  OwnState().guard = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
  EXPECT_THAT(ReportOfThisThread(), HasSubstr("uses a thread_local"));
  // Of a frame that is no more, below this one.
  OwnState().guard = 1;
  EXPECT_THAT(ReportOfThisThread(), HasSubstr("it comes to no probe"));
}

// What a system call of a task's meets, where signals are in use.
TEST_F(InterruptTest, AnInterruptedReadGoesOnAndAPollReturns) {
  if (kSignalsAreHeldBack) GTEST_SKIP() << "ThreadSanitizer delays signals";
  std::array<int, 2> pipe_ends{};
  ASSERT_EQ(pipe(pipe_ends.data()), 0);
  std::atomic<bool> read_begins{false};
  std::atomic<bool> has_read{false};
  std::atomic<bool> over{false};
  std::atomic<ThreadState*> state{nullptr};
  std::atomic<pid_t> tid{0};
  int polled = 0;
  int error = 0;
  ssize_t length = 0;
  std::thread sleeper([&] {
    tid = OwnTid();
    state = &OwnState();
    pollfd end{.fd = pipe_ends[0], .events = POLLIN, .revents = 0};
    polled = poll(&end, 1, -1);
    error = errno;
    read_begins = true;
    char byte = 0;
    length = read(pipe_ends[0], &byte, 1);
    has_read = true;
    while (!over) std::this_thread::yield();  // It has a state for so long.
  });
  while (state == nullptr) std::this_thread::yield();
  while (!read_begins) {
    Interrupt(*state, tid, kGiveWay);
    std::this_thread::sleep_for(50us);
  }
  for (int i = 0; i < 20 && !has_read; ++i) {
    Interrupt(*state, tid, kGiveWay);
    while ((state.load()->interrupts & kGiveWay) != 0)
      std::this_thread::yield();
    std::this_thread::sleep_for(100us);  // It is within read() by then.
  }
  EXPECT_FALSE(has_read) << "there was nothing to read";
  EXPECT_EQ(write(pipe_ends[1], "x", 1), 1);
  while (!has_read) std::this_thread::yield();
  over = true;
  sleeper.join();
  EXPECT_EQ(polled, -1);
  EXPECT_EQ(error, EINTR);
  EXPECT_EQ(length, 1);
  for (const int end : pipe_ends) close(end);
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
