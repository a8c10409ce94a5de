// interrupt_test.cc - tasks that signals and the kernel's tick take off their core,
// and the report of one that nothing can.

#include "preempt/interrupt.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "base/under_tsan.h"
#include "worker/engine.h"
#include "yamanote/preempt.h"
#include "yamanote/runtime.h"
#include "yamanote/thread.h"

namespace yamanote {
namespace {

using namespace std::chrono_literals;

RuntimeOptions OneCore(Mechanism mechanism) {
  RuntimeOptions options;
  options.cores = 1;
  options.pin = false;
  options.scheduling = FindPreset("tq").value();
  options.scheduling.slice = 5us;
  options.preemption = mechanism;
  return options;
}

constexpr bool kSignalsAreHeldBack = YAMANOTE_UNDER_TSAN;

YAMANOTE_INTERRUPTIBLE void WaitWithoutProbes(const std::atomic<bool>& done) {
  while (!done.load(std::memory_order_relaxed)) {
  }
}

// Nobody keeps time but the kernel's tick; without it this would never end.
TEST(InterruptTest, ABusySingleCoreIsPreemptedByTheKernelsTick) {
  const auto runtime = Runtime::Create(OneCore(Mechanism::kProbe)).value();
  EXPECT_EQ(runtime->mechanism(), Mechanism::kProbe);
  runtime->Run([] {
    std::atomic<bool> other_ran{false};
    Thread other([&] { other_ran = true; });
    while (!other_ran) Probe();
    other.join();
  });
  EXPECT_GE(runtime->stats().preemptions, 1U);
}

// A program whose main() blocks all signals, for a thread with sigwait().
TEST(InterruptTest, AMaskThatWorkersInheritHoldsNoTickBack) {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  ASSERT_EQ(pthread_sigmask(SIG_SETMASK, &all, &before), 0);
  const auto runtime = Runtime::Create(OneCore(Mechanism::kProbe)).value();
  ASSERT_EQ(pthread_sigmask(SIG_SETMASK, &before, nullptr), 0);
  runtime->Run([] {
    std::atomic<bool> other_ran{false};
    Thread other([&] { other_ran = true; });
    while (!other_ran) Probe();
    other.join();
  });
  EXPECT_GE(runtime->stats().preemptions, 1U);
}

TEST(InterruptTest, CodeWithoutProbesIsPreemptedByASignal) {
  if (kSignalsAreHeldBack) GTEST_SKIP() << "ThreadSanitizer delays signals";
  const auto runtime = Runtime::Create(OneCore(Mechanism::kSignal)).value();
  EXPECT_EQ(runtime->mechanism(), Mechanism::kSignal);
  runtime->Run([] {
    for (int i = 0; i < 3; ++i) {
      std::atomic<bool> other_ran{false};
      Thread other([&] { other_ran = true; });
      WaitWithoutProbes(other_ran);
      other.join();
    }
  });
  EXPECT_GE(runtime->stats().preemptions, 3U);
}

TEST(InterruptTest, WithoutAMechanismNobodyIsInterrupted) {
  const auto runtime = Runtime::Create(OneCore(Mechanism::kNone)).value();
  EXPECT_EQ(runtime->mechanism(), Mechanism::kNone);
  EXPECT_FALSE(runtime->impl().timekeeper().needed());
}

TEST(InterruptTest, WithoutSlicesTheMechanismIsNone) {
  RuntimeOptions options = OneCore(Mechanism::kAuto);
  options.scheduling = FindPreset("ix").value();
  const auto runtime = Runtime::Create(std::move(options)).value();
  EXPECT_EQ(runtime->mechanism(), Mechanism::kNone);
}

TEST(InterruptTest, TheWatchdogNamesWhoHoldsPreemptionOff) {
  if (kSignalsAreHeldBack) GTEST_SKIP() << "ThreadSanitizer delays signals";
  RuntimeOptions options = OneCore(Mechanism::kProbe);
  options.watchdog = 1ms;
  const auto runtime = Runtime::Create(std::move(options)).value();
  testing::internal::CaptureStderr();
  runtime->Run([&] {
    Thread other([] {});
    Thread holder(ThreadOptions{.name = "holder"}, [&] {
      const NoPreempt guard;
      Thread waiting([] {});
      while (runtime->stats().held_off == 0) Probe();
      waiting.detach();
    });
    holder.join();
    other.join();
  });
  const std::string text = testing::internal::GetCapturedStderr();
  EXPECT_NE(text.find("task 'holder'"), std::string::npos) << text;
  EXPECT_NE(text.find("within a NoPreempt"), std::string::npos) << text;
}

#if !YAMANOTE_UNDER_TSAN  // Which counts no locks.

TEST(InterruptTest, ATaskThatBlocksWithAMutexIsNamedOnce) {
  const auto runtime = Runtime::Create(OneCore(Mechanism::kProbe)).value();
  testing::internal::CaptureStderr();
  runtime->Run([] {
    const auto block = [] {
      std::mutex mutex;
      const std::lock_guard held(mutex);
      this_thread::sleep_for(1us);
    };
    for (const char* name : {"holder", "second"}) {
      Thread thread(ThreadOptions{.name = name}, block);
      thread.join();
    }
  });
  const std::string text = testing::internal::GetCapturedStderr();
  EXPECT_NE(text.find("user thread 'holder' blocks while it holds"),
            std::string::npos)
      << text;
  EXPECT_EQ(text.find("'second'"), std::string::npos) << text;
}

// The workers' signal stacks are below the tasks': the guard of a handler that is no more
// is below every frame that it could hold off.
TEST(InterruptTest, ATaskIsPreemptedAfterItJumpedOutOfAHandler) {
  static sigjmp_buf out;
  static uintptr_t handler_at;
  const auto runtime = Runtime::Create(OneCore(Mechanism::kProbe)).value();
  signal(SIGUSR1, [](int) {
    handler_at = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
    siglongjmp(out, 1);
  });
  runtime->Run([] {
    if (sigsetjmp(out, 1) == 0) raise(SIGUSR1);
    EXPECT_LT(handler_at,
              reinterpret_cast<uintptr_t>(__builtin_frame_address(0)));
    std::atomic<bool> other_ran{false};
    Thread other([&] { other_ran = true; });
    while (!other_ran) Probe();
    other.join();
  });
  signal(SIGUSR1, SIG_DFL);
}

#endif

TEST(InterruptTest, ANegativeWatchdogIsRefused) {
  RuntimeOptions options = OneCore(Mechanism::kProbe);
  options.watchdog = -1ms;
  const auto runtime = Runtime::Create(std::move(options));
  ASSERT_FALSE(runtime);
  EXPECT_NE(runtime.error().message.find("watchdog"), std::string::npos);
}

}  // namespace
}  // namespace yamanote
