// probe_test.cc - what a probe leaves untouched, and when it does not give way.
// Drives probe.cc and probe_x86_64.S; the timekeeper and real tasks have tests of
// their own.

#include "preempt/probe.h"

#include <execinfo.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <random>
#include <string>
#include <thread>

#include "preempt/flag.h"
#include "preempt/mechanism.h"
#include "preempt/registers_test.h"
#include "yamanote/preempt.h"

namespace yamanote::preempt {
namespace {

int g_hits = 0;

void Raise() { Ask(OwnState(), {}); }

void CountAndLower() {
  Answer(OwnState());
  ++g_hits;
}

void Scramble() {
  CountAndLower();
  ScrambleRegisters();
}

class ProbeTest : public testing::Test {
 protected:
  ProbeTest() {
    g_hits = 0;
    SetHandler(&CountAndLower);
  }
  ~ProbeTest() override {
    OwnState().flag.store(0);
    OwnState().skips = 0;
    OwnState().guard = 0;
    SetHandler(nullptr);
  }
};

TEST_F(ProbeTest, DoesNothingWithoutTheFlag) {
  Probe();
  EXPECT_EQ(g_hits, 0);
}

TEST_F(ProbeTest, CallsTheHandlerOnceForAFlag) {
  Raise();
  Probe();
  Probe();
  EXPECT_EQ(g_hits, 1);
}

TEST_F(ProbeTest, ACoreThatAsksItselfLetsSomeProbesPass) {
  AskOneself(OwnState(), 2);
  Probe();
  Probe();
  EXPECT_EQ(g_hits, 0);
  EXPECT_NE(OwnState().flag.load(), 0);
  Probe();
  EXPECT_EQ(g_hits, 1);
}

TEST_F(ProbeTest, LowersTheFlagWhereNobodyHandlesIt) {
  SetHandler(nullptr);
  Raise();
  Probe();
  EXPECT_EQ(OwnState().flag.load(), 0);
}

TEST_F(ProbeTest, WaitsForTheEndOfTheOutermostGuard) {
  Raise();
  {
    const NoPreempt outer;
    {
      const NoPreempt inner;
      Probe();
    }
    Probe();
    EXPECT_EQ(g_hits, 0);
  }
  EXPECT_EQ(g_hits, 1) << "the end of a guard is a probe";
}

TEST_F(ProbeTest, CallSafeReturnsWhatTheFunctionReturns) {
  Raise();
  int value = 5;
  int& same = CallSafe([&]() -> int& {
    Probe();
    EXPECT_EQ(g_hits, 0);
    return value;
  });
  EXPECT_EQ(&same, &value);
  EXPECT_EQ(g_hits, 1);
}

TEST_F(ProbeTest, AGuardEndsWithAnException) {
  Raise();
  EXPECT_THROW(CallSafe([] { throw 1; }), int);
  EXPECT_EQ(g_hits, 1);
  EXPECT_EQ(OwnState().disabled, 0U);
}

[[gnu::noinline]] void ProbeInAFrameBelow() {
  Probe();
  asm volatile("");  // No tail call: the frame must be there.
}

// What the plug-ins' code does in a function that uses a thread_local.
TEST_F(ProbeTest, FramesBelowAGuardedOneDoNotGiveWay) {
  Raise();
  OwnState().guard = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
  ProbeInAFrameBelow();
  EXPECT_EQ(g_hits, 0);
  EXPECT_NE(OwnState().flag.load(), 0) << "the request was lost";
  OwnState().guard = 0;
  Probe();
  EXPECT_EQ(g_hits, 1);
}

// An exception that leaves a guarded function does not lower its guard.
TEST_F(ProbeTest, AFrameAboveAnOutdatedGuardGivesWayAndForgetsIt) {
  Raise();
  char local;
  OwnState().guard = reinterpret_cast<uintptr_t>(&local) - 4096;
  Probe();
  EXPECT_EQ(g_hits, 1);
  EXPECT_EQ(OwnState().guard, 0U);
}

TEST_F(ProbeTest, ErrnoIsTheTasks) {
  SetHandler(&Scramble);
  Raise();
  errno = 5;
  Probe();
  EXPECT_EQ(errno, 5);
}

TEST_F(ProbeTest, AnUnwinderSeesTheInterruptedFunctionAsTheCaller) {
  static std::string symbols;
  symbols.clear();
  SetHandler([] {
    CountAndLower();
    std::array<void*, 32> frames;
    const int count = backtrace(frames.data(), 32);
    // The probe's frame, then ours: its address lies in this very function.
    for (int i = 0; i < count; ++i) {
      if (frames[i] > reinterpret_cast<void*>(&ProbeInAFrameBelow) &&
          frames[i] < reinterpret_cast<char*>(&ProbeInAFrameBelow) + 64)
        symbols += "found at " + std::to_string(i);
    }
    symbols += " of " + std::to_string(count);
  });
  Raise();
  ProbeInAFrameBelow();
  ASSERT_EQ(g_hits, 1);
  EXPECT_NE(symbols.find("found at"), std::string::npos) << symbols;
  // ProbeInAFrameBelow, this test, GoogleTest's frames, main: not cut off.
  EXPECT_GT(std::stoi(symbols.substr(symbols.find("of ") + 3)), 6) << symbols;
}

// Probes as the plug-ins make them, one for each set of registers that may be alive
// (bits of XCR0), to be called at any alignment of the stack.
extern "C" {
void probe_test_none();
void probe_test_x87();
void probe_test_sse();
void probe_test_avx();
void probe_test_all();
}
#define PROBE(name, alive)                              \
  asm(".pushsection .text\n"                            \
      "probe_test_" name                                \
      ":\n\t"                                           \
      "leaq -128(%rsp), %rsp\n\t"                       \
      "call *yamanote_preempt_probe@gotpcrel(%rip)\n\t" \
      "testb $" alive                                   \
      ", %al\n\t"                                       \
      "subq $-128, %rsp\n\t"                            \
      "jmp 2f\n"                                        \
      "2:\n\t"                                          \
      "ret\n\t"                                         \
      ".popsection")
PROBE("none", "0");
PROBE("x87", "1");
PROBE("sse", "2");
PROBE("avx", "6");
PROBE("all", "0xe7");
#undef PROBE

// No vector or x87 register is in use (XGETBV) afterwards, whoever used it before.
void ForgetRegisters() {
  if (BestVectors() == Vectors::kFxsave) return;
  alignas(64) static uint8_t area[2752] = {};
  const uint32_t initial = 0x1f80;
  std::memcpy(area + 24, &initial, sizeof(initial));
  asm volatile("xrstor64 %0" ::"m"(area), "a"(0xe7), "d"(0) : "memory");
}

TEST_F(ProbeTest, EveryRegisterIsAsItWas) {
  SetHandler(&Scramble);
  std::mt19937_64 random(7);
  for (const Vectors vectors :
       {Vectors::kFxsave, Vectors::kInUse, Vectors::kXsave}) {
    if (vectors > BestVectors() &&
        !(vectors == Vectors::kXsave && BestVectors() == Vectors::kInUse))
      continue;
    UseVectors(vectors);
    const int best = vectors == Vectors::kFxsave ? 0 : BestLevel();
    // With x87 registers in use and without: other ways through the code.
    for (int turn = 0; turn <= 2 * best + 1; ++turn) {
      const int level = turn / 2;
      const bool x87 = turn % 2 == 1;
      SCOPED_TRACE(testing::Message()
                   << "vectors " << static_cast<int>(vectors) << ", level "
                   << level << ", x87 " << x87);
      static Registers in, out;
      Randomise(random, level, in);
      std::memset(&out, 0, sizeof(out));
      const int hits = g_hits;
      Raise();
      ForgetRegisters();
      RoundTrip(in, out, level, x87, &probe_test_all);
      EXPECT_EQ(g_hits, hits + 1);
      ExpectSame(in, out, x87, level == 2 ? 32 : 16, size_t{16} << level, 8);
    }
  }
}

// Whatever else is in use: the C library leaves AVX-512's registers so for good.
TEST_F(ProbeTest, WhatMayBeAliveIsAsItWas) {
  SetHandler(&Scramble);
  std::mt19937_64 random(8);
  struct {
    ProbeCall call;
    int level;  // That the probe knows of; -1: no vector register is alive.
  } const kProbes[] = {
      {&probe_test_none, -1}, {&probe_test_sse, 0}, {&probe_test_avx, 1}};
  for (const auto& [call, alive] : kProbes) {
    for (int turn = 0; turn <= 2 * BestLevel() + 1; ++turn) {
      const int level = turn / 2;
      const bool x87 = turn % 2 == 1;
      SCOPED_TRACE(testing::Message() << "alive " << alive << ", level "
                                      << level << ", x87 " << x87);
      static Registers in, out;
      Randomise(random, level, in);
      std::memset(&out, 0, sizeof(out));
      Raise();
      ForgetRegisters();
      RoundTrip(in, out, level, x87, call);
      const size_t bytes = alive < 0 ? 0 : size_t{16} << std::min(alive, level);
      ExpectSame(in, out, x87, 16, bytes, 0);
    }
  }
}

// MMX's registers are x87's, but neither modes nor flags tell that they are in use.
TEST_F(ProbeTest, MmxRegistersThatMayBeAliveAreAsTheyWere) {
  SetHandler(&Scramble);
  const uint64_t value = 0x0123456789abcdef;
  uint64_t after = 0;
  registers_test_call = &probe_test_x87;
  Raise();
  asm volatile(
      "fninit\n\t"
      "movq %[value], %%mm3\n\t"
      "subq $128, %%rsp\n\t"
      "call *registers_test_call(%%rip)\n\t"
      "addq $128, %%rsp\n\t"
      "movq %%mm3, %[after]\n\t"
      "emms"
      : [after] "=r"(after)
      : [value] "r"(value)
      : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory",
        "cc");
  EXPECT_EQ(g_hits, 1);
  EXPECT_EQ(after, value);
}

// A task's flags are its own, too, with no register alive.
TEST_F(ProbeTest, X87FlagsAreAsTheyWere) {
  SetHandler(&Scramble);
  uint16_t status = 0;
  Raise();
  asm volatile("fninit\n\tfldz\n\tfldz\n\tfdivrp\n\tfstp %st(0)");  // Invalid.
  probe_test_none();
  asm volatile("fnstsw %0\n\tfninit" : "=m"(status));
  EXPECT_EQ(g_hits, 1);
  EXPECT_EQ(status & 0x3f, 1);
}

TEST_F(ProbeTest, AProbeThatPassesLeavesEverything) {
  SetHandler(&Scramble);
  std::mt19937_64 random(10);
  for (const bool x87 : {false, true}) {
    static Registers in, out;
    const int level = BestLevel();
    Randomise(random, level, in);
    std::memset(&out, 0, sizeof(out));
    AskOneself(OwnState(), 1);
    RoundTrip(in, out, level, x87, &probe_test_none);
    EXPECT_EQ(g_hits, 0);
    ExpectSame(in, out, x87, level == 2 ? 32 : 16, size_t{16} << level,
               level == 2 ? 8 : 0);
  }
}

// The stack of a preempted task is cold when it goes on.
TEST_F(ProbeTest, WhatIsNotAliveTakesNoStack) {
  if (BestVectors() != Vectors::kInUse)
    GTEST_SKIP() << "this processor does not say which registers are in use";
  static uintptr_t handler;
  SetHandler([] {
    CountAndLower();
    handler = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
  });
  std::mt19937_64 random(9);
  static Registers in, out;
  const int level = BestLevel();
  Randomise(random, level, in);
  // An address of the stack that is the same for all of them.
  const auto here = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
  auto depth = [&](ProbeCall call) {
    Raise();
    ForgetRegisters();
    RoundTrip(in, out, level, false, call);
    EXPECT_EQ(handler % 16, 0U) << "the handler's stack is not aligned";
    return here - handler;
  };
  const uintptr_t none = depth(&probe_test_none);
  const uintptr_t sse = depth(&probe_test_sse);
  const uintptr_t avx = depth(&probe_test_avx);
  const uintptr_t all = depth(&probe_test_all);
  EXPECT_GE(sse, none + 192);  // 256 less the alignment.
  EXPECT_LE(sse, none + 320);
  EXPECT_EQ(avx, sse + (level >= 1 ? 256 : 0));
  EXPECT_GE(all, avx + (level == 2 ? 2048 : 0));
}

// What runs meanwhile must find the modes of the kernel thread, not the task's.
TEST_F(ProbeTest, OthersRunWithTheKernelThreadsModes) {
  static uint32_t seen;
  SetHandler([] {
    CountAndLower();
    asm volatile("stmxcsr %0" : "=m"(seen));
  });
  std::thread([] {
    const uint32_t own = 0x9fc0;  // Flush to zero, denormals are zero.
    asm volatile("ldmxcsr %0" ::"m"(own));
    AdoptThread();
    const uint32_t task = 0x1f80 | (1u << 13);
    asm volatile("ldmxcsr %0" ::"m"(task));
    Raise();
    Probe();
    uint32_t after = 0;
    asm volatile("stmxcsr %0" : "=m"(after));
    EXPECT_EQ(seen, own);
    EXPECT_EQ(after & ~0x3fU, task);
  }).join();
}

// As this one is: nobody would count the locks that a stopped task holds.
TEST(MechanismTest, NoCodeIsInterruptedInAProgramWithoutTheLocks) {
  ASSERT_FALSE(ProgramHasProbes());
  static const char code[16] = {};
  ASSERT_TRUE(AddInterruptible(code, code + sizeof(code)));
  EXPECT_EQ(Choose(Mechanism::kAuto).value(), Mechanism::kProbe);
  const Result<Mechanism> chosen = Choose(Mechanism::kSignal);
  ASSERT_FALSE(chosen);
  EXPECT_NE(chosen.error().message.find("yamanote::locks"), std::string::npos)
      << chosen.error().message;
}

}  // namespace
}  // namespace yamanote::preempt
