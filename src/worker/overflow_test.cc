// overflow_test.cc - what a task's access to memory that is not there ends in.
//
// The handler is installed once for a process, so each case runs in one of its own.

#include "worker/overflow.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <csignal>
#include <memory>
#include <utility>

#include "base/under_tsan.h"
#include "yamanote/runtime.h"
#include "yamanote/thread.h"

#if !YAMANOTE_UNDER_TSAN  // Which has a handler of its own.

namespace yamanote {
namespace {

class OverflowDeathTest : public testing::Test {
 protected:
  OverflowDeathTest() { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

void RunOnATask(void (*function)()) {
  RuntimeOptions options;
  options.cores = 1;
  options.pin = false;
  options.stack_bytes = 64 * 1024;
  const auto runtime = Runtime::Create(std::move(options)).value();
  runtime->Run([function] {
    Thread thread(ThreadOptions{.name = "digger"}, function);
    thread.join();
  });
}

// A page that nobody may touch.
volatile char* g_forbidden = nullptr;

void Touch() { *g_forbidden = 1; }

void Forbid() {
  void* const page =
      mmap(nullptr, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) _exit(1);
  g_forbidden = static_cast<volatile char*>(page);
}

// By its information, that of the fault itself.
void ExitForTheFault(int number, siginfo_t* info, void* context) {
  _exit(number == SIGSEGV && info->si_addr == g_forbidden && context != nullptr
            ? 42
            : 43);
}

TEST_F(OverflowDeathTest, AHandlerThatWasThereBeforeGetsTheFault) {
  EXPECT_EXIT(
      {
        Forbid();
        struct sigaction action{};
        action.sa_sigaction = &ExitForTheFault;
        action.sa_flags = SA_SIGINFO;
        sigemptyset(&action.sa_mask);
        sigaction(SIGSEGV, &action, nullptr);
        RunOnATask(&Touch);
        _exit(44);
      },
      testing::ExitedWithCode(42), "");
}

TEST_F(OverflowDeathTest, APlainHandlerThatWasThereBeforeGetsTheFault) {
  EXPECT_EXIT(
      {
        Forbid();
        signal(SIGSEGV, [](int) { _exit(42); });
        RunOnATask(&Touch);
        _exit(44);
      },
      testing::ExitedWithCode(42), "");
}

TEST_F(OverflowDeathTest, WithoutOneTheFaultEndsTheProgram) {
  EXPECT_EXIT(
      {
        Forbid();
        signal(SIGSEGV, SIG_DFL);
        RunOnATask(&Touch);
        _exit(44);
      },
      testing::KilledBySignal(SIGSEGV), "");
}

[[gnu::noinline]] int Deep(int depth) {
  volatile char frame[1024];
  frame[0] = static_cast<char>(depth);
  return depth == 0 ? 0 : Deep(depth - 1) + frame[0];
}

TEST_F(OverflowDeathTest, StackOverflowNamesTheThread) {
  EXPECT_DEATH(RunOnATask([] { Deep(1 << 20); }),
               "stack overflow in user thread 'digger'.*stack_bytes = 65536");
}

// The message, and then whoever was there before.
TEST_F(OverflowDeathTest, AHandlerThatWasThereBeforeGetsTheOverflowToo) {
  EXPECT_EXIT(
      {
        struct sigaction action{};
        action.sa_handler = [](int) { _exit(42); };
        action.sa_flags = SA_ONSTACK;
        sigemptyset(&action.sa_mask);
        sigaction(SIGSEGV, &action, nullptr);
        RunOnATask([] { Deep(1 << 20); });
        _exit(44);
      },
      testing::ExitedWithCode(42), "stack overflow in user thread 'digger'");
}

}  // namespace
}  // namespace yamanote

#endif
