// preempt_test.cc - tasks that are preempted at probes, under real placements.
//
// The test's own thread keeps time, by instants that it makes up: the timekeeper
// takes time as an argument, so nothing here depends on how fast the machine is.
// Probes are written by hand (Probe()); instrument/ tests those of the plug-ins.

#include "yamanote/preempt.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "base/under_tsan.h"
#include "worker/engine.h"
#include "yamanote/mutex.h"
#include "yamanote/rcu.h"
#include "yamanote/runtime.h"
#include "yamanote/semaphore.h"
#include "yamanote/thread.h"

namespace yamanote {
namespace {

using namespace std::chrono_literals;

constexpr Duration kSlice = 5us;

std::unique_ptr<Runtime> Make(unsigned cores,
                              const std::string& preset = "tq") {
  RuntimeOptions options;
  options.cores = cores;
  options.pin = false;     // Tests run beside each other.
  options.watchdog = 0us;  // The test's time is not the tasks'.
  options.scheduling = FindPreset(preset).value();
  options.scheduling.slice = kSlice;
  return Runtime::Create(std::move(options)).value();
}

// Keeps time for `runtime`: every Tick() is one slice later than the one before,
// and later than any instant that a worker could pass; so workers never look, nor does
// one ask itself.
class Keeper {
 public:
  explicit Keeper(Runtime& runtime)
      : timekeeper_(runtime.impl().timekeeper()), now_(Clock::now() + 1h) {
    timekeeper_.Keep(now_);
  }

  void Tick() {
    now_ += kSlice;
    timekeeper_.Keep(now_);
  }

 private:
  preempt::Timekeeper& timekeeper_;
  Instant now_;
};

// Runs `main` as a user thread while `during` is called again and again.
template <typename Main, typename During>
void RunWhile(Runtime& runtime, Main&& main, During&& during) {
  std::atomic<bool> done{false};
  std::thread run([&] {
    runtime.Run(main);
    done = true;
  });
  while (!done) during();
  run.join();
}

TEST(PreemptTest, ATaskThatExceedsItsSliceGivesWayToOneThatWaits) {
  const auto runtime = Make(1);
  Keeper keeper(*runtime);
  std::atomic<bool> other_ran{false};
  RunWhile(
      *runtime,
      [&] {
        Thread other([&] { other_ran = true; });
        // Would never end without preemption: there is one core.
        while (!other_ran) Probe();
        other.join();
      },
      [&] { keeper.Tick(); });
  EXPECT_TRUE(other_ran);
  EXPECT_GE(runtime->stats().preemptions, 1U);
}

TEST(PreemptTest, NobodyIsPreemptedWhileNothingWaits) {
  const auto runtime = Make(1);
  Keeper keeper(*runtime);
  runtime->Run([&] {
    for (int i = 0; i < 1000; ++i) {
      keeper.Tick();
      Probe();
    }
  });
  EXPECT_EQ(runtime->stats().preemptions, 0U);
}

// The request was raised for the task before: it must not hit the next one.
// More than a crowd, each waiting for all others: slices are long, but they end.
TEST(PreemptTest, ACrowdOfSpinningTasksStillTakesTurns) {
  constexpr int kTasks = 400;
  const auto runtime = Make(1);
  Keeper keeper(*runtime);
  std::atomic<int> begun{0};
  RunWhile(
      *runtime,
      [&] {
        std::vector<Thread> threads;
        for (int i = 0; i < kTasks; ++i) {
          threads.emplace_back([&] {
            ++begun;
            while (begun < kTasks) Probe();
          });
        }
        for (Thread& thread : threads) thread.join();
      },
      [&] { keeper.Tick(); });
  EXPECT_EQ(begun, kTasks);
}

TEST(PreemptTest, ALateRequestIsDropped) {
  const auto runtime = Make(1);
  const Keeper keeper(*runtime);
  runtime->Run([&] {
    Thread other([] {});
    preempt::Ask(preempt::OwnState(), {.progress = 0});
    Probe();
    EXPECT_EQ(preempt::OwnState().flag.load(), 0);
    other.join();
  });
  EXPECT_EQ(runtime->stats().preemptions, 0U);
}

TEST(PreemptTest, ACoreThatAsksItselfIsAskedByOthersAllTheSame) {
  const auto runtime = Make(1);
  std::atomic<bool> other_ran{false};
  runtime->Run([&] {
    Thread other([&] { other_ran = true; });
    const Instant over = Clock::now() + 2 * kSlice;
    while (Clock::now() < over) {
    }
    worker::Worker::AtTick();  // Nobody has looked: from now on it asks itself.
    EXPECT_EQ(preempt::OwnState().flag.load(), 1);
    Keeper keeper(*runtime);
    for (int i = 0; i < 3; ++i) keeper.Tick();
    for (int i = 0; i < 2; ++i) Probe();  // The first is let pass.
    EXPECT_TRUE(other_ran);
    other.join();
  });
}

TEST(PreemptTest, AVoluntaryPointWithinAGuardDoesNotGiveWay) {
  const auto runtime = Make(1);
  runtime->Run([&] {
    bool other_ran = false;
    Thread other([&] { other_ran = true; });
    {
      const NoPreempt guard;
      const Instant end = Clock::now() + 2 * kSlice;
      while (Clock::now() < end) EXPECT_FALSE(CheckPreempt());
      EXPECT_FALSE(CheckPreempt());
    }
    EXPECT_FALSE(other_ran);
    while (!other_ran) CheckPreempt();
    other.join();
  });
}

// As the plug-ins do in a function that uses a thread_local.
TEST(PreemptTest, AVoluntaryPointBelowAGuardedFunctionDoesNotGiveWay) {
  const auto runtime = Make(1);
  runtime->Run([&] {
    bool other_ran = false;
    Thread other([&] { other_ran = true; });
    preempt::ThreadState& state = preempt::OwnState();
    state.guard = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
    const Instant end = Clock::now() + 2 * kSlice;
    while (Clock::now() < end) EXPECT_FALSE(CheckPreempt());
    EXPECT_FALSE(CheckPreempt());
    EXPECT_FALSE(other_ran);
    state.guard = 1;  // An exception left it behind: no frame is below.
    while (!other_ran) CheckPreempt();
    EXPECT_EQ(preempt::OwnState().guard, 0U);
    other.join();
  });
}

TEST(PreemptTest, AForkedChildRunsNoOtherTask) {
  if (YAMANOTE_UNDER_TSAN) GTEST_SKIP() << "ThreadSanitizer forbids it";
  const auto runtime = Make(1);
  runtime->Run([&] {
    bool other_ran = false;
    Thread other([&] { other_ran = true; });
    preempt::AskOneself(preempt::OwnState(), 0);
    const pid_t child = fork();
    if (child == 0) {
      Probe();
      for (const Instant end = Clock::now() + 3 * kSlice; Clock::now() < end;)
        CheckPreempt();
      this_thread::yield();
      _exit(other_ran ? 1 : 0);
    }
    ASSERT_GT(child, 0);
    int status = -1;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    EXPECT_EQ(status, 0);
    other.join();
  });
}

TEST(PreemptTest, AForkedChildThatReturnsFromTheTaskEndsWithAMessage) {
  if (YAMANOTE_UNDER_TSAN) GTEST_SKIP() << "ThreadSanitizer forbids it";
  const auto runtime = Make(1);
  int status = -1;
  testing::internal::CaptureStderr();
  runtime->Run([&] {
    Thread forks([&] {
      const pid_t child = fork();
      if (child == 0) return;
      while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
      }
    });
    forks.join();
  });
  const std::string text = testing::internal::GetCapturedStderr();
  EXPECT_TRUE(WIFSIGNALED(status)) << status;
  EXPECT_EQ(WTERMSIG(status), SIGABRT);
  EXPECT_NE(text.find("ends by exec or _exit"), std::string::npos) << text;
}

TEST(PreemptTest, AGuardedScopeIsNotInterrupted) {
  const auto runtime = Make(1);
  Keeper keeper(*runtime);
  std::atomic<bool> other_ran{false};
  runtime->Run([&] {
    Thread other([&] { other_ran = true; });
    {
      const NoPreempt guard;
      for (int i = 0; i < 1000; ++i) {
        keeper.Tick();
        Probe();
      }
      EXPECT_FALSE(other_ran);
    }
    EXPECT_TRUE(other_ran) << "the end of the guard is a probe";
    other.join();
  });
}

TEST(PreemptTest, AReadSectionOfRcuIsNotInterrupted) {
  const auto runtime = Make(1);
  Keeper keeper(*runtime);
  std::atomic<bool> other_ran{false};
  runtime->Run([&] {
    Thread other([&] { other_ran = true; });
    {
      const RcuReader reader;
      for (int i = 0; i < 1000; ++i) {
        keeper.Tick();
        Probe();
      }
      EXPECT_FALSE(other_ran);
    }
    keeper.Tick();
    Probe();
    EXPECT_TRUE(other_ran);
    other.join();
  });
}

// The guard is the task's: while it is blocked, others are preempted as ever, and
// it finds its guard again, on whichever core.
TEST(PreemptTest, AGuardTravelsWithATaskThatBlocks) {
  for (const unsigned cores : {1u, 2u}) {
    const auto runtime = Make(cores);
    Keeper keeper(*runtime);
    BinarySemaphore wake(0);
    std::atomic<bool> third_ran{false};
    RunWhile(
        *runtime,
        [&] {
          Thread guarded([&] {
            const NoPreempt guard;
            wake.acquire();
            EXPECT_EQ(preempt::OwnState().disabled, 1U);
          });
          this_thread::yield();  // It blocks.
          EXPECT_EQ(preempt::OwnState().disabled, 0U);
          Thread third([&] { third_ran = true; });
          while (!third_ran) Probe();
          third.join();
          wake.release();
          guarded.join();
          EXPECT_EQ(preempt::OwnState().disabled, 0U);
        },
        [&] { keeper.Tick(); });
  }
}

// What an exception or a longjmp leaves behind must not reach the next task.
TEST(PreemptTest, AThreadThatEndsTakesItsGuardWithIt) {
  const auto runtime = Make(1);
  runtime->Run([] {
    Thread([] {
      preempt::OwnState().guard = 1234;
      preempt::OwnState().disabled = 1;
    }).join();
    Thread([] {
      EXPECT_EQ(preempt::OwnState().guard, 0U);
      EXPECT_EQ(preempt::OwnState().disabled, 0U);
    }).join();
  });
}

// ---- A storm: every task is preempted again and again ------------------------

// Throws through `depth` frames, preempted in each on the way up and while the
// exception is in flight.
// NOLINTNEXTLINE(misc-no-recursion)
int Thrown(int depth) {
  struct AtUnwind {
    ~AtUnwind() { Probe(); }
  } at_unwind;
  Probe();
  if (depth == 0) throw std::runtime_error("bottom");
  try {
    return Thrown(depth - 1);
  } catch (const std::runtime_error&) {
    Probe();  // Two tasks may be within their handlers at a time.
    if (depth % 2 == 0) throw;
    return depth;
  }
}

int Exceptions(int depth) {
  try {
    return Thrown(depth);
  } catch (const std::exception& error) {
    Probe();
    return std::string(error.what()) == "bottom" ? 0 : -1000;
  }
}

double Floats(int rounds) {
  double sum = 0;
  for (int i = 1; i <= rounds; ++i) {
    sum += std::sqrt(i) / (i + 0.5);
    Probe();
  }
  return sum;
}

size_t Allocations(unsigned seed) {
  std::vector<std::string> strings;
  for (unsigned i = 0; i < 40; ++i) {
    strings.emplace_back(1 + (seed * 7919 + i * 104729) % 500, 'x');
    Probe();
    if (i % 3 == 0) strings.erase(strings.begin());
  }
  size_t total = 0;
  for (const std::string& s : strings) total += s.size();
  return total;
}

struct StormSetup {
  std::string preset;
  unsigned cores;
};

class PreemptStormTest : public testing::TestWithParam<StormSetup> {};

TEST_P(PreemptStormTest, ResultsAreThoseOfUninterruptedRuns) {
  const StormSetup setup = GetParam();
  const auto runtime = Make(setup.cores, setup.preset);
  Keeper keeper(*runtime);
  const double floats = Floats(200);
  std::vector<size_t> allocations;
  for (unsigned i = 0; i < 8; ++i) allocations.push_back(Allocations(i));
  const int exceptions = Exceptions(5);
  std::atomic<int> wrong{0};
  Mutex mutex;
  uint64_t guarded = 0;
  constexpr int kTasks = 8;
  constexpr uint64_t kPreemptions = 200;
  std::atomic<uint64_t> rounds{0};
  RunWhile(
      *runtime,
      [&] {
        std::vector<Thread> threads;
        for (unsigned t = 0; t < kTasks; ++t) {
          threads.emplace_back([&, t] {
            while (runtime->stats().preemptions < kPreemptions) {
              if (Floats(200) != floats) ++wrong;
              if (Allocations(t) != allocations[t]) ++wrong;
              if (Exceptions(5) != exceptions) ++wrong;
              const std::lock_guard lock(mutex);
              const uint64_t before = guarded;
              Probe();  // Preempted with Yamanote's mutex held: that is safe.
              guarded = before + 1;
              ++rounds;
            }
          });
        }
        for (Thread& thread : threads) thread.join();
      },
      [&] { keeper.Tick(); });
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(guarded, rounds);
}

std::vector<StormSetup> StormSetups() {
  std::vector<StormSetup> setups;
  for (const PresetInfo& preset : Presets()) {
    for (const unsigned cores : {1u, 2u, 3u}) {
      Scheduling scheduling = preset.scheduling;
      scheduling.slice = kSlice;
      if (!Validate(scheduling, cores)) continue;
      setups.push_back({std::string(preset.name), cores});
    }
  }
  return setups;
}

std::string StormName(const testing::TestParamInfo<StormSetup>& info) {
  std::string name = info.param.preset + std::to_string(info.param.cores);
  for (char& c : name) {
    if (c == '-') c = '_';
  }
  return name;
}

INSTANTIATE_TEST_SUITE_P(AllPresets, PreemptStormTest,
                         testing::ValuesIn(StormSetups()), StormName);

}  // namespace
}  // namespace yamanote
