// timekeeper_test.cc - whom it asks, interrupts and reports, by instants that are made
// up: nothing here depends on how fast the machine is.

#include "preempt/timekeeper.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <csignal>
#include <iterator>
#include <thread>
#include <vector>

#include "base/under_tsan.h"
#include "preempt/adaptive_slice.h"
#include "preempt/flag.h"
#include "preempt/interrupt.h"

namespace yamanote::preempt {
namespace {

using namespace std::chrono_literals;

std::atomic<int> g_timekeepers_signals{0};

// Each stands still until Move(), with something waiting.
class StuckCores final : public Cores {
 public:
  uint64_t Progress(CoreId core) const override { return progress_.at(core); }
  bool Waits(CoreId) const override { return true; }
  // Another task runs there from now on.
  void Move(CoreId core) { ++progress_.at(core); }

 private:
  std::array<uint64_t, 3> progress_{1, 1, 1};
};

// What ends then (its receiver, its thread) nobody uses any more.
TEST(TimekeeperTest, AThreadThatHasLeftIsNeitherAskedNorInterrupted) {
  if (YAMANOTE_UNDER_TSAN) GTEST_SKIP() << "ThreadSanitizer delays signals";
  signal(kSignalNumber, [](int) { ++g_timekeepers_signals; });
  g_timekeepers_signals = 0;
  const StuckCores cores;
  Timekeeper timekeeper(cores, {.slices = {1us}, .interrupt_after = 1us});
  Instant now = Clock::now();
  const auto keep = [&] {
    for (int i = 0; i < 10; ++i) timekeeper.Keep(now += 1ms);
  };
  timekeeper.Enter(0);
  keep();
  EXPECT_EQ(OwnState().flag, 1);
  EXPECT_GE(g_timekeepers_signals, 1);
  timekeeper.Exit(0);
  EXPECT_EQ(OwnState().flag, 0);
  g_timekeepers_signals = 0;
  OwnState().interrupts = 0;
  keep();
  EXPECT_EQ(OwnState().flag, 0);
  EXPECT_EQ(g_timekeepers_signals, 0);
  signal(kSignalNumber, SIG_DFL);
}

// A task whose slice is longer than the core's least answers each time, and runs on.
TEST(TimekeeperTest, WhoAnswersIsNeitherInterruptedNorReported) {
  const StuckCores cores;
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

// Answers each signal, and notes when it came.
class TimekeeperSignalsTest : public testing::Test {
 protected:
  void SetUp() override {
    if (YAMANOTE_UNDER_TSAN) GTEST_SKIP() << "ThreadSanitizer delays signals";
    s_times.clear();
    OwnState().interrupts = 0;
    signal(kSignalNumber, [](int) {
      OwnState().interrupts = 0;
      s_times.push_back(s_now);
    });
  }
  ~TimekeeperSignalsTest() override {
    signal(kSignalNumber, SIG_DFL);
    OwnState().flag = 0;
  }

  // Looks every `step` for `time`.
  static void Keep(Timekeeper& timekeeper, Duration time, Duration step) {
    for (const Instant end = s_now + time; s_now < end;)
      timekeeper.Keep(s_now += step);
  }

  // The handler runs within Keep(), on this thread.
  static inline std::vector<Instant> s_times;
  static inline Instant s_now = Clock::now();
};

TEST_F(TimekeeperSignalsTest, WhoIsInterruptedInVainIsLeftAloneForLonger) {
  const StuckCores cores;
  Timekeeper timekeeper(cores, {.slices = {10us}, .interrupt_after = 1ms});
  timekeeper.Enter(0);
  const Instant begin = s_now;
  Keep(timekeeper, 60ms, 10us);
  timekeeper.Exit(0);
  ASSERT_GE(s_times.size(), 7U);
  // It is asked after a slice, and has another for an answer.
  EXPECT_NEAR(ToNanos(s_times[0] - begin), ToNanos(1ms), ToNanos(50us));
  const Duration expected[] = {2ms, 4ms, 8ms, 10ms, 10ms, 10ms};
  for (size_t i = 0; i < std::size(expected); ++i) {
    EXPECT_NEAR(ToNanos(s_times[i + 1] - s_times[i]), ToNanos(expected[i]),
                ToNanos(30us))
        << "pause " << i;
  }
}

// So long that nothing which a busy machine does to this thread counts: whether it
// waited for its CPU is the kernel's time.
constexpr Duration kLongWatchdog = 1h;

TEST_F(TimekeeperSignalsTest, ATaskIsReportedOnce) {
  StuckCores cores;
  Timekeeper timekeeper(cores, {.slices = {1s}, .watchdog = kLongWatchdog});
  timekeeper.Enter(0);
  const Instant begin = s_now;
  Keep(timekeeper, 100h, 10s);
  EXPECT_EQ(timekeeper.held_off(), 1U);
  ASSERT_EQ(s_times.size(), 1U);
  EXPECT_NEAR(ToNanos(s_times[0] - begin), ToNanos(kLongWatchdog),
              ToNanos(1min));
  cores.Move(0);
  Keep(timekeeper, 100h, 10s);
  EXPECT_EQ(timekeeper.held_off(), 2U);
  EXPECT_EQ(s_times.size(), 2U);
  timekeeper.Exit(0);
}

TEST_F(TimekeeperSignalsTest, OneReportASecondIsWritten) {
  StuckCores cores;
  Timekeeper timekeeper(cores,
                        {.slices = {1ms, 1ms, 1ms}, .watchdog = kLongWatchdog});
  for (CoreId core = 0; core < 3; ++core) timekeeper.Enter(core);
  // All are due at the same look.
  Keep(timekeeper, 2 * kLongWatchdog, 10s);
  EXPECT_EQ(timekeeper.held_off(), 3U);
  EXPECT_EQ(s_times.size(), 1U);
  // Due 800 ms after each other.
  for (CoreId core = 0; core < 3; ++core) {
    cores.Move(core);
    Keep(timekeeper, 800ms, 100ms);
  }
  Keep(timekeeper, 2 * kLongWatchdog, 100ms);
  EXPECT_EQ(timekeeper.held_off(), 6U);
  ASSERT_EQ(s_times.size(), 3U);
  EXPECT_NEAR(ToNanos(s_times[2] - s_times[1]), ToNanos(1600ms),
              ToNanos(200ms));
  for (CoreId core = 0; core < 3; ++core) timekeeper.Exit(core);
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

}  // namespace
}  // namespace yamanote::preempt
