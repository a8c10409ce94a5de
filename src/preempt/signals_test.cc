// signals_test.cc - handlers of the application's own beside preemption.

#include <gtest/gtest.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>

#include "preempt/flag.h"
#include "preempt/probe.h"
#include "yamanote/preempt.h"

namespace yamanote::preempt {
namespace {

int g_hits = 0;
int g_calls = 0;
int g_value = 0;
sigjmp_buf g_out;

void OnSignal(int number) {
  ++g_calls;
  g_value = number;
  errno = EXDEV;
  Probe();
}

void OnSignalInfo(int number, siginfo_t* info, void* context) {
  ++g_calls;
  g_value = info->si_value.sival_int;
  EXPECT_EQ(number, SIGUSR2);
  EXPECT_NE(context, nullptr);
  Probe();
}

class SignalsTest : public testing::Test {
 protected:
  SignalsTest() {
    g_hits = g_calls = g_value = 0;
    SetHandler([] {
      Answer(OwnState());
      ++g_hits;
    });
  }
  ~SignalsTest() override {
    ::signal(SIGUSR1, SIG_DFL);
    ::signal(SIGUSR2, SIG_DFL);
    OwnState().flag.store(0);
    OwnState().guard = 0;
    SetHandler(nullptr);
  }
};

TEST_F(SignalsTest, AHandlerIsNotInterrupted) {
  ::signal(SIGUSR1, &OnSignal);
  Ask(OwnState(), {});
  raise(SIGUSR1);
  EXPECT_EQ(g_calls, 1);
  EXPECT_EQ(g_value, SIGUSR1);
  EXPECT_EQ(g_hits, 0);
  Probe();
  EXPECT_EQ(g_hits, 1);
}

// What signal() is in strict ISO C.
TEST_F(SignalsTest, AHandlerOfSystemVsIsNotInterruptedEither) {
  ::sysv_signal(SIGUSR1, &OnSignal);
  Ask(OwnState(), {});
  raise(SIGUSR1);
  EXPECT_EQ(g_calls, 1);
  EXPECT_EQ(g_hits, 0);
  struct sigaction seen{};
  ASSERT_EQ(::sigaction(SIGUSR1, nullptr, &seen), 0);
  EXPECT_EQ(seen.sa_handler, SIG_DFL);  // Once.
}

TEST_F(SignalsTest, AHandlerWithInformationGetsIt) {
  struct sigaction action{};
  action.sa_sigaction = &OnSignalInfo;
  action.sa_flags = SA_SIGINFO;
  ASSERT_EQ(::sigaction(SIGUSR2, &action, nullptr), 0);
  Ask(OwnState(), {});
  sigval value{};
  value.sival_int = 42;
  ASSERT_EQ(sigqueue(getpid(), SIGUSR2, value), 0);
  EXPECT_EQ(g_calls, 1);
  EXPECT_EQ(g_value, 42);
  EXPECT_EQ(g_hits, 0);
}

TEST_F(SignalsTest, TheApplicationSeesItsOwnDispositions) {
  EXPECT_EQ(::signal(SIGUSR1, &OnSignal), SIG_DFL);
  struct sigaction seen{};
  ASSERT_EQ(::sigaction(SIGUSR1, nullptr, &seen), 0);
  EXPECT_EQ(seen.sa_handler, &OnSignal);
  EXPECT_EQ(::signal(SIGUSR1, SIG_IGN), &OnSignal);
  raise(SIGUSR1);
  EXPECT_EQ(g_calls, 0);
  EXPECT_EQ(::signal(SIGUSR1, SIG_DFL), SIG_IGN);
}

// A crash handler that ends by the default disposition often keeps its flags.
TEST_F(SignalsTest, FlagsMakeNoHandlerOfADefaultOrIgnoredSignal) {
  struct sigaction action{};
  action.sa_flags = SA_SIGINFO;
  action.sa_handler = SIG_IGN;
  ASSERT_EQ(::sigaction(SIGUSR1, &action, nullptr), 0);
  raise(SIGUSR1);
  struct sigaction seen{};
  action.sa_handler = SIG_DFL;
  ASSERT_EQ(::sigaction(SIGUSR1, &action, &seen), 0);
  EXPECT_EQ(seen.sa_handler, SIG_IGN);
  EXPECT_EXIT(
      {
        ::sigaction(SIGUSR1, &action, nullptr);
        raise(SIGUSR1);
        _exit(0);
      },
      testing::KilledBySignal(SIGUSR1), "");
}

TEST_F(SignalsTest, AnErrorLeavesTheHandlerAsItWas) {
  struct sigaction action{};
  action.sa_handler = &OnSignal;
  EXPECT_EQ(::sigaction(SIGKILL, &action, nullptr), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(::sigaction(0, &action, nullptr), -1);
  EXPECT_EQ(::sigaction(NSIG, &action, nullptr), -1);
  EXPECT_EQ(::signal(SIGSTOP, &OnSignal), SIG_ERR);
}

TEST_F(SignalsTest, AHandlerThatJumpsOutLeavesNoGuardBehind) {
  ::signal(SIGUSR1, [](int) { siglongjmp(g_out, 1); });
  Ask(OwnState(), {});
  if (sigsetjmp(g_out, 1) == 0) raise(SIGUSR1);
  Probe();
  EXPECT_EQ(g_hits, 1);
}

// On an alternate stack above the thread's own its guard covers all of that. The price
// of a guard by address: docs/preemption-safety.md warns of it.
TEST_F(SignalsTest, AJumpOffAnAlternateStackMayLeaveItsGuardBehind) {
  constexpr size_t kBytes = 256 * 1024;
  static int hits_after_jump;
  void* const stacks = mmap(nullptr, 2 * kBytes, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(stacks, MAP_FAILED);
  pthread_attr_t attributes;
  ASSERT_EQ(pthread_attr_init(&attributes), 0);
  ASSERT_EQ(pthread_attr_setstack(&attributes, stacks, kBytes), 0);
  const auto body = [](void* above) -> void* {
    stack_t alternate{};
    alternate.ss_sp = above;
    alternate.ss_size = kBytes;
    sigaltstack(&alternate, nullptr);
    struct sigaction action{};
    action.sa_handler = [](int) { siglongjmp(g_out, 1); };
    action.sa_flags = SA_ONSTACK;
    ::sigaction(SIGUSR1, &action, nullptr);
    Ask(OwnState(), {});
    if (sigsetjmp(g_out, 1) == 0) raise(SIGUSR1);
    Probe();
    hits_after_jump = g_hits;
    // A frame that is above it does not mind it.
    OwnState().guard = 1;
    Probe();
    return nullptr;
  };
  pthread_t thread{};
  ASSERT_EQ(pthread_create(&thread, &attributes, body,
                           static_cast<char*>(stacks) + kBytes),
            0);
  pthread_join(thread, nullptr);
  pthread_attr_destroy(&attributes);
  munmap(stacks, 2 * kBytes);
  EXPECT_EQ(hits_after_jump, 0);
  EXPECT_EQ(g_hits, 1);
}

}  // namespace
}  // namespace yamanote::preempt
