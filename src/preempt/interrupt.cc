// interrupt.cc - the handler, and what it may do where.

#include "preempt/interrupt.h"

#include <execinfo.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>
#include <unwind.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/check.h"
#include "base/spin_lock.h"
#include "base/under_tsan.h"
#include "preempt/user_interrupt.h"
#include "yamanote/preempt.h"

namespace yamanote::preempt {
namespace {

// Written before any thread that may be interrupted is told of; see
// InstallInterrupts().
Host g_host;
bool g_injects = false;
bool g_user_interrupts = false;
struct sigaction g_before;

// ---- The report -------------------------------------------------------------

void Write(const char* text) {
  const ssize_t ignored = write(STDERR_FILENO, text, std::strlen(text));
  static_cast<void>(ignored);
}

struct Frames {
  static constexpr int kMost = 48;
  std::array<void*, kMost> addresses{};
  int count = 0;
};

_Unwind_Reason_Code Collect(struct _Unwind_Context* context, void* argument) {
  Frames& frames = *static_cast<Frames*>(argument);
  if (frames.count == Frames::kMost) return _URC_END_OF_STACK;
  // NOLINTNEXTLINE(performance-no-int-to-ptr)
  frames.addresses[static_cast<size_t>(frames.count++)] =
      reinterpret_cast<void*>(_Unwind_GetIP(context));
  return _URC_NO_REASON;
}

const char* WhyNot(const ThreadState& state, uintptr_t sp) {
  if (state.disabled >= kOneLock)
    return "it holds a std::mutex or another lock of the process";
  if (state.disabled != 0) return "it is within a NoPreempt";
  if (state.guard != 0 && sp < state.guard)
    return "it is within a function that uses a thread_local, or one marked "
           "YAMANOTE_NO_PREEMPT";
  return "it comes to no probe: code without probes, or a system call";
}

// Async-signal-safe with glibc: the unwinder and backtrace_symbols_fd() take no
// lock that this thread may hold half-way (the loader's is recursive), and
// allocate nothing.
void Report(const ThreadState& state, uintptr_t ip, uintptr_t sp) {
  const RunningTask task = g_host.current();
  if (task.name == nullptr) return;  // It ended meanwhile.
  Frames frames;
  _Unwind_Backtrace(&Collect, &frames);
  // Without the handler's own.
  int first = 0;
  while (first < frames.count &&
         // The unwinder may name the instruction or the one behind it.
         reinterpret_cast<uintptr_t>(
             frames.addresses[static_cast<size_t>(first)]) != ip)
    ++first;
  if (first == frames.count) first = 0;
  std::array<char, 512> text{};
  // Not among the functions that POSIX lists; glibc's neither allocates nor locks
  // for these conversions.
  std::snprintf(text.data(), text.size(),
                "yamanote: task '%s' (%llu) has kept preemption off for longer "
                "than the watchdog allows, while others wait: %s. Its stack "
                "(`addr2line -Cfpe BINARY ADDRESS` names what has no name):\n",
                task.name, static_cast<unsigned long long>(task.id),
                WhyNot(state, sp));
  Write(text.data());
  backtrace_symbols_fd(frames.addresses.data() + first, frames.count - first,
                       STDERR_FILENO);
}

// ---- The handler ------------------------------------------------------------

// What the program itself had installed: neither it nor what it calls gives way.
void CallFormer(ThreadState& state, int number, siginfo_t* info,
                void* context) {
  if (!CallsHandler(g_before)) return;
  const uintptr_t saved = state.guard;
  state.guard =
      std::max(saved, reinterpret_cast<uintptr_t>(__builtin_frame_address(0)));
  if ((g_before.sa_flags & SA_SIGINFO) != 0) {
    g_before.sa_sigaction(number, info, context);
  } else {
    g_before.sa_handler(number);
  }
  state.guard = saved;
}

}  // namespace

// signals.cc knows it by its name, and lets it through.
extern "C" YAMANOTE_UNWATCHED void yamanote_preempt_on_interrupt(
    int number, siginfo_t* info, void* context) {
  const int saved_errno = errno;
  ThreadState& state = yamanote_preempt_state;
  // Acquire: pairs with Interrupt().
  const uint8_t reasons =
      state.interrupts.exchange(0, std::memory_order_acquire);
  const bool tick =
      info->si_code == SI_TIMER && info->si_value.sival_ptr == &g_host;
  if (!tick && reasons == 0) CallFormer(state, number, info, context);
  // Another process' may be an arbiter's, whose core this is.
  const bool foreign = !tick && reasons == 0 && info->si_code <= 0 &&
                       info->si_pid != getpid() && g_host.tick != nullptr;
  if (tick || foreign) g_host.tick();
  auto& registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  auto ip = static_cast<uintptr_t>(registers[REG_RIP]);
  auto sp = static_cast<uintptr_t>(registers[REG_RSP]);
  if ((reasons & kReport) != 0) Report(state, ip, sp);
  if (g_injects) {
    InjectProbe(ip, sp, g_host.current());
    registers[REG_RIP] = static_cast<greg_t>(ip);
    registers[REG_RSP] = static_cast<greg_t>(sp);
  }
  errno = saved_errno;
}

YAMANOTE_GENERAL_REGISTERS RunningTask CurrentTask() {
  return g_host.current();
}

void InstallInterrupts(const Host& host, bool injects, bool user_interrupts) {
  g_host = host;
  g_injects = injects;
  g_user_interrupts = user_interrupts;
  struct sigaction action{};
  action.sa_sigaction = &yamanote_preempt_on_interrupt;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
  sigemptyset(&action.sa_mask);
  struct sigaction before{};
  YAMANOTE_CHECK(sigaction(kSignalNumber, &action, &before) == 0,
                 "the signal of preemption can't be handled");
  if (before.sa_sigaction != &yamanote_preempt_on_interrupt) g_before = before;
}

sigset_t AcceptInterrupts() {
  sigset_t ours;
  sigset_t before;
  sigemptyset(&ours);
  sigaddset(&ours, kSignalNumber);
  YAMANOTE_CHECK(pthread_sigmask(SIG_UNBLOCK, &ours, &before) == 0,
                 "the signal of preemption can't be unblocked");
  return before;
}

void Interrupt(ThreadState& state, pid_t tid, uint8_t reason) {
  if (reason == kGiveWay && g_user_interrupts && state.receiver &&
      SendUserInterrupt(state.receiver))
    return;
  // Release: pairs with the handler.
  if ((state.interrupts.fetch_or(reason, std::memory_order_release) & reason) !=
      0)
    return;
  syscall(SYS_tgkill, getpid(), tid, kSignalNumber);
}

Duration WaitedForCpu(pid_t tid) {
  std::array<char, 96> text{};
  std::snprintf(text.data(), text.size(), "/proc/self/task/%d/schedstat",
                static_cast<int>(tid));
  const int file = open(text.data(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return Duration::zero();
  const ssize_t length = read(file, text.data(), text.size() - 1);
  close(file);
  if (length <= 0) return Duration::zero();
  text[static_cast<size_t>(length)] = '\0';
  // Time on a CPU, time waiting for one, turns.
  char* end = nullptr;
  std::strtoull(text.data(), &end, 10);
  return Duration(static_cast<int64_t>(std::strtoull(end, nullptr, 10)));
}

namespace {

void SayNoTick(int error) {
  static std::atomic<bool> said{false};
  if (said.exchange(true)) return;
  std::fprintf(
      stderr,
      "yamanote: no timer for the kernel's tick: %s; where all cores are "
      "busy with long tasks, their slices do not end. Raise `ulimit -i` "
      "(pending signals).\n",
      std::strerror(error));
}

}  // namespace

Tick::Tick() {
  sigevent event{};
  event.sigev_notify = SIGEV_THREAD_ID;
  event.sigev_signo = kSignalNumber;
  event.sigev_value.sival_ptr = &g_host;
  event._sigev_un._tid = static_cast<pid_t>(syscall(SYS_gettid));
  if (timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &timer_) != 0) {
    SayNoTick(errno);
    return;
  }
  // Shorter than any kernel's tick: due at each.
  const itimerspec each{.it_interval = {.tv_sec = 0, .tv_nsec = 500'000},
                        .it_value = {.tv_sec = 0, .tv_nsec = 500'000}};
  armed_ = timer_settime(timer_, 0, &each, nullptr) == 0;
  if (armed_) return;
  SayNoTick(errno);
  timer_delete(timer_);
}

Tick::~Tick() {
  if (armed_) timer_delete(timer_);
}

}  // namespace yamanote::preempt

namespace yamanote {

Result<void> AddInterruptible(const void* begin, const void* end) {
  const auto from = reinterpret_cast<uintptr_t>(begin);
  const auto to = reinterpret_cast<uintptr_t>(end);
  if (from >= to) {
    return MakeError(ErrorCode::kInvalidArgument,
                     "AddInterruptible: end is not behind begin; pass the "
                     "first byte of the code and the one behind its last");
  }
  if (!preempt::AddRange(from, to)) {
    return MakeError(ErrorCode::kResourceExhausted,
                     "AddInterruptible: there are 64 ranges already, the "
                     "limit; use a section instead (YAMANOTE_INTERRUPTIBLE)");
  }
  return {};
}

}  // namespace yamanote
