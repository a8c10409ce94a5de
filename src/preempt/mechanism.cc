// mechanism.cc - what is there, and what signals cost.

#include "preempt/mechanism.h"

#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <system_error>
#include <thread>

#include "base/cpu.h"
#include "base/topology.h"
#include "base/under_tsan.h"
#include "preempt/interrupt.h"
#include "preempt/user_interrupt.h"

// In yamanote_locks, which programs with probes or marked code link to; else absent.
extern "C" {
[[gnu::weak]] extern const int yamanote_locks;
}

namespace yamanote {

std::string_view ToString(Mechanism mechanism) {
  switch (mechanism) {
    case Mechanism::kAuto:
      return "auto";
    case Mechanism::kNone:
      return "none";
    case Mechanism::kProbe:
      return "probe";
    case Mechanism::kSignal:
      return "signal";
    case Mechanism::kUserInterrupt:
      return "user-interrupt";
  }
  return "unknown";
}

}  // namespace yamanote

namespace yamanote::preempt {
namespace {

Capability CheckInterruptible() {
  if (!HasInterruptible()) {
    return {.available = false,
            .why = "no code of this program is marked YAMANOTE_INTERRUPTIBLE"};
  }
  // Stopped at any instruction, it may hold a std::mutex of a caller's.
  if (!ProgramHasProbes()) {
    return {
        .available = false,
        .why =
            "a task could be stopped while it holds a std::mutex: the program "
            "does not link yamanote::locks (without CMake: the libraries of "
            "pkg-config's yamanote-preemptible-COMPILER)"};
  }
  return {.available = true, .why = "code without probes may be interrupted"};
}

}  // namespace

// A weak reference makes the linker take the symbol, not the library's member, so
// it is there in programs with probes alone.
bool ProgramHasProbes() { return &yamanote_locks != nullptr; }

Capability Check(Mechanism mechanism) {
  switch (mechanism) {
    case Mechanism::kAuto:
    case Mechanism::kNone:
      return {.available = true, .why = ""};
    case Mechanism::kProbe:
      return {.available = true,
              .why = ProgramHasProbes()
                         ? "code of this program is compiled with probes"
                         : "no code of this program is compiled with probes: "
                           "tasks give way where they call Probe()"};
    case Mechanism::kSignal:
      if (YAMANOTE_UNDER_TSAN) {
        return {.available = false,
                .why = "ThreadSanitizer holds signals back"};
      }
      return CheckInterruptible();
    case Mechanism::kUserInterrupt: {
      static const char* const missing = UserInterruptsMissing();
      if (missing != nullptr) return {.available = false, .why = missing};
      return CheckInterruptible();
    }
  }
  return {};
}

Result<Mechanism> Choose(Mechanism wanted) {
  if (wanted == Mechanism::kAuto) {
    for (const Mechanism mechanism :
         {Mechanism::kUserInterrupt, Mechanism::kSignal}) {
      if (Check(mechanism).available) return mechanism;
    }
    return Mechanism::kProbe;
  }
  const Capability capability = Check(wanted);
  if (capability.available) return wanted;
  return MakeError(ErrorCode::kInvalidArgument,
                   "preemption is '" + std::string(ToString(wanted)) +
                       "', but " + capability.why +
                       "; use 'auto', 'probe' or 'none'");
}

Duration MeasureSignal() {
  constexpr int kRounds = 41;
  static std::atomic<int64_t> handled;
  struct sigaction action{};
  struct sigaction before{};
  action.sa_handler = [](int) {
    handled.store(Clock::now().time_since_epoch().count(),
                  std::memory_order_release);
  };
  sigemptyset(&action.sa_mask);
  if (sigaction(kSignalNumber, &action, &before) != 0) return Duration{0};

  // The other thread inherits it.
  const sigset_t mask = AcceptInterrupts();
  const std::vector<int> cpus = base::AllowedCpus();
  std::atomic<pid_t> target{0};
  std::atomic<bool> stop{false};
  std::thread other;
  if (cpus.size() > 1) {
    const int here = sched_getcpu();
    const int there = cpus[0] == here ? cpus[1] : cpus[0];
    try {
      other = std::thread([&, there] {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(there, &set);
        sched_setaffinity(0, sizeof(set), &set);
        target = static_cast<pid_t>(syscall(SYS_gettid));
        while (!stop) base::Pause();
      });
      while (target == 0) sched_yield();
    } catch (const std::system_error&) {
      // No thread to be had: what it costs on this core is better than nothing.
    }
  }
  if (!other.joinable()) target = static_cast<pid_t>(syscall(SYS_gettid));

  std::array<int64_t, kRounds> times{};
  for (int64_t& time : times) {
    handled.store(0, std::memory_order_relaxed);
    const Instant sent = Clock::now();
    syscall(SYS_tgkill, getpid(), target.load(), kSignalNumber);
    int64_t at = 0;
    // Acquire: pairs with the handler.
    while ((at = handled.load(std::memory_order_acquire)) == 0 &&
           Clock::now() - sent < std::chrono::milliseconds(5))
      base::Pause();
    if (at == 0) at = Clock::now().time_since_epoch().count();
    time = at - sent.time_since_epoch().count();
  }
  stop = true;
  if (other.joinable()) other.join();
  pthread_sigmask(SIG_SETMASK, &mask, nullptr);
  sigaction(kSignalNumber, &before, nullptr);
  std::ranges::nth_element(times, times.begin() + kRounds / 2);
  return Duration(times[kRounds / 2]);
}

}  // namespace yamanote::preempt
