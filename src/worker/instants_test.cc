// instants_test.cc - a request to give way that comes at every single instant.
//
// The processor steps through a disable, an enable, a switch, a thread's start and its
// end; before instruction number 1, 2, 3 ... the core is asked to give way, as whoever
// keeps time asks it. Nothing here depends on how fast the machine is.

#include <gtest/gtest.h>
#include <signal.h>
#include <ucontext.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>

#include "base/under_tsan.h"
#include "preempt/probe.h"
#include "worker/engine.h"
#include "worker/sanitizer.h"
#include "yamanote/preempt.h"
#include "yamanote/runtime.h"
#include "yamanote/semaphore.h"
#include "yamanote/thread.h"

#if !YAMANOTE_UNDER_TSAN  // It holds signals back.

namespace yamanote {
namespace {

using namespace std::chrono_literals;
using worker::Worker;

// Of one kernel thread at a time.
class Stepper {
 public:
  Stepper() {
    struct sigaction action{};
    action.sa_sigaction = &Stepper::AfterInstruction;
    action.sa_flags = SA_SIGINFO | SA_RESTART;
    sigemptyset(&action.sa_mask);
    sigaction(SIGTRAP, &action, &before_);
  }
  ~Stepper() { sigaction(SIGTRAP, &before_, nullptr); }
  Stepper(const Stepper&) = delete;
  Stepper& operator=(const Stepper&) = delete;

  // From here to End() every instruction is a step, whichever task runs it; before
  // number `at` the core is asked to give way.
  [[gnu::noinline]] void Begin(unsigned at) {
    steps_ = 0;
    at_ = at;
    asked_ = false;
    stepping_ = true;
    asm volatile(
        "leaq -128(%%rsp), %%rsp\n\t"
        "pushfq\n\t"
        "orq $0x100, (%%rsp)\n\t"
        "popfq\n\t"
        "leaq 128(%%rsp), %%rsp" ::
            : "cc", "memory");
  }
  void End() { stepping_ = false; }

  static unsigned steps() { return steps_; }
  static bool asked() { return asked_; }
  // The core's progress when it was asked.
  static uint64_t asked_for() { return asked_for_; }

 private:
  static void AfterInstruction(int, siginfo_t*, void* context) {
    if (stepping_) steps_ = steps_ + 1;
    if (stepping_ && steps_ == at_) {
      asked_for_ = Worker::This()->reschedules();
      preempt::Ask(preempt::OwnState(), {.progress = asked_for_, .ran = 1h});
      asked_ = true;
      stepping_ = false;
    }
    if (!stepping_)
      static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_EFL] &= ~0x100LL;
  }

  struct sigaction before_{};
  static inline volatile sig_atomic_t stepping_ = 0;
  static inline volatile unsigned steps_ = 0;
  static inline volatile unsigned at_ = 0;
  static inline volatile bool asked_ = false;
  static inline volatile uint64_t asked_for_ = 0;
};

class InstantsTest : public testing::Test {
 protected:
  InstantsTest() {
    RuntimeOptions options;
    options.cores = 1;
    options.pin = false;
    options.watchdog = 0us;
    options.scheduling = FindPreset("tq").value();
    options.scheduling.slice = 5us;
    runtime_ = Runtime::Create(std::move(options)).value();
    // The stepper alone asks: everybody else has looked just now.
    runtime_->impl().timekeeper().Keep(Clock::now() + 1h);
  }

  // Calls `once(at)`, which steps, with each instant of it; with some where there are
  // more than kMostInstants.
  template <typename Once>
  void AtEachInstant(Once&& once) {
    runtime_->Run([&] {
      once(0U);  // Everything has been touched.
      // The shortest of some rounds: on a busy machine a core sometimes finds that it is
      // time for a look at timers and events.
      unsigned steps = UINT32_MAX;
      for (int round = 0; round < 5; ++round) {
        once(0U);
        steps = std::min(steps, Stepper::steps());
      }
      ASSERT_GT(steps, 20U);
      unsigned asked = 0;
      unsigned tried = 0;
      const unsigned stride = (steps + kMostInstants - 1) / kMostInstants;
      for (unsigned at = 1; at <= steps; at += stride) {
        SCOPED_TRACE("instruction " + std::to_string(at) + " of " +
                     std::to_string(steps));
        once(at);
        ++tried;
        if (Stepper::asked()) ++asked;
        EXPECT_EQ(preempt::OwnState().disabled, 0U);
        EXPECT_EQ(preempt::OwnState().flag.load(), 0);
        if (testing::Test::HasFailure()) return;
      }
      // A round may have fewer instructions than the one that was counted.
      EXPECT_GE(asked, tried * 9 / 10);
    });
  }

  uint64_t preemptions() const { return runtime_->stats().preemptions; }

  // A request that was for this stretch of this task is answered at the next probe;
  // one that was for what ran before is dropped.
  void ExpectAnsweredIfMeant() {
    Thread other([] {});
    const uint64_t before = preemptions();
    const bool meant = Stepper::asked() &&
                       Stepper::asked_for() == Worker::This()->reschedules();
    Probe();
    EXPECT_EQ(preemptions() - before, meant ? 1U : 0U);
    other.join();
  }

#if defined(YAMANOTE_ASAN)  // Ten times the instructions, and slower steps.
  static constexpr unsigned kMostInstants = 40;
#else
  static constexpr unsigned kMostInstants = 2000;
#endif
  Stepper stepper_;
  std::unique_ptr<Runtime> runtime_;
};

TEST_F(InstantsTest, OfADisableAndAnEnable) {
  AtEachInstant([&](unsigned at) {
    std::atomic<bool> inside{false};
    std::atomic<bool> other_ran{false};
    Thread other([&] {
      EXPECT_FALSE(inside);
      other_ran = true;
    });
    stepper_.Begin(at);
    {
      const NoPreempt guard;
      inside = true;
      {
        const NoPreempt nested;
        EXPECT_FALSE(CheckPreempt());
      }
      inside = false;
    }
    stepper_.End();
    Probe();
    EXPECT_EQ(other_ran, Stepper::asked());
    other.join();
  });
}

TEST_F(InstantsTest, OfASwitch) {
  AtEachInstant([&](unsigned at) {
    Thread other([] { this_thread::yield(); });
    stepper_.Begin(at);
    this_thread::yield();
    stepper_.End();
    other.join();
    ExpectAnsweredIfMeant();
  });
}

// A probe that is asked already, and the other task's life. The request that comes in
// between is one with the first until that is answered.
TEST_F(InstantsTest, OfAPreemption) {
  AtEachInstant([&](unsigned at) {
    bool other_ran = false;
    Thread other([&] { other_ran = true; });
    preempt::Ask(preempt::OwnState(),
                 {.progress = Worker::This()->reschedules(), .ran = 1h});
    stepper_.Begin(at);
    Probe();
    stepper_.End();
    EXPECT_TRUE(other_ran);
    other.join();
    ExpectAnsweredIfMeant();
  });
}

TEST_F(InstantsTest, OfAThreadsEnd) {
  AtEachInstant([&](unsigned at) {
    Thread other([&] { stepper_.Begin(at); });
    other.join();
    stepper_.End();
    ExpectAnsweredIfMeant();
  });
}

TEST_F(InstantsTest, OfAThreadsWholeLife) {
  AtEachInstant([&](unsigned at) {
    bool ran = false;
    stepper_.Begin(at);
    Thread other([&] { ran = true; });
    other.join();
    stepper_.End();
    EXPECT_TRUE(ran);
    ExpectAnsweredIfMeant();
  });
}

TEST_F(InstantsTest, OfATaskThatBlocksWithAGuard) {
  AtEachInstant([&](unsigned at) {
    BinarySemaphore semaphore(0);
    Thread other([&] {
      EXPECT_EQ(preempt::OwnState().disabled, 0U);
      semaphore.release();
    });
    stepper_.Begin(at);
    {
      const NoPreempt guard;
      semaphore.acquire();
      EXPECT_EQ(preempt::OwnState().disabled, 1U);
    }
    stepper_.End();
    other.join();
    ExpectAnsweredIfMeant();
  });
}

#if !defined(YAMANOTE_ASAN)  // Its frames are larger.

// Probes as the plug-ins make them, for functions with no vector register alive, with
// SSE's and with AVX's.
extern "C" {
void instants_test_none();
void instants_test_sse();
void instants_test_avx();
}
#define PROBE(name, alive)                              \
  asm(".pushsection .text\n"                            \
      "instants_test_" name                             \
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
PROBE("sse", "2");
PROBE("avx", "6");
#undef PROBE

// How far down the stack something was written below this frame by a preemption at
// `probe`.
[[gnu::noinline]] size_t StackOfAPreemption(void (*probe)()) {
  constexpr size_t kPainted = 16 * 1024;
  constexpr size_t kNear = 256;  // This function's, and its red zone.
  constexpr unsigned char kPaint = 0xa5;
  const auto here = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
  auto* const bottom =
      reinterpret_cast<volatile unsigned char*>(here - kPainted);
  for (size_t i = 0; i < kPainted - kNear; ++i) bottom[i] = kPaint;
  preempt::Ask(preempt::OwnState(),
               {.progress = Worker::This()->reschedules(), .ran = 1h});
  // AVX's registers are in use, so that they are saved if they may be alive.
  if (__builtin_cpu_supports("avx2"))
    asm volatile("vpcmpeqd %%ymm0, %%ymm0, %%ymm0" ::: "xmm0");
  probe();
  size_t untouched = 0;
  while (untouched < kPainted && bottom[untouched] == kPaint) ++untouched;
  return kPainted - untouched;
}

TEST_F(InstantsTest, APreemptionsStackIsBounded) {
  const auto least_of = [&](void (*probe)()) {
    size_t least = SIZE_MAX;  // A signal takes more, now and then.
    for (int round = 0; round < 20; ++round) {
      Thread other([] {});
      const uint64_t before = preemptions();
      least = std::min(least, StackOfAPreemption(probe));
      EXPECT_EQ(preemptions(), before + 1);
      other.join();
    }
    return least;
  };
  runtime_->Run([&] {
    const size_t all = least_of([] { Probe(); });
    EXPECT_GT(all, 512U);  // x87's and SSE's registers, at least.
    EXPECT_LE(all, 3584U);
    if (preempt::BestVectors() != preempt::Vectors::kInUse) return;
    EXPECT_LE(least_of(&instants_test_avx), 1152U);
    EXPECT_LE(least_of(&instants_test_sse), 896U);
    EXPECT_LE(least_of(&instants_test_none), 640U);
  });
}

#endif

}  // namespace
}  // namespace yamanote

#endif
