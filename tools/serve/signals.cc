// signals.cc - signals by sigtimedwait.

#include "tools/serve/signals.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <ctime>

#include "base/check.h"

namespace yamanote::tools {
namespace {

// Of our own process; nobody else sends it to a server.
constexpr int kWakeSignal = SIGUSR2;

// Started by nohup: whatever ends the terminal does not end us.
bool IgnoresHangup() {
  struct sigaction action{};
  return sigaction(SIGHUP, nullptr, &action) == 0 &&
         action.sa_handler == SIG_IGN;
}

sigset_t Watched() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGINT, SIGTERM, SIGUSR1, kWakeSignal})
    sigaddset(&set, signal);
  if (!IgnoresHangup()) sigaddset(&set, SIGHUP);
  return set;
}

}  // namespace

Signals::Signals() {
  const sigset_t set = Watched();
  YAMANOTE_CHECK(pthread_sigmask(SIG_BLOCK, &set, nullptr) == 0,
                 "signals can't be blocked");
  struct sigaction ignore{};
  ignore.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &ignore, nullptr);
}

Signals::Event Signals::Wait(Duration limit) {
  const sigset_t set = Watched();
  int signal = 0;
  if (limit == kNoLimit) {
    while ((signal = sigwaitinfo(&set, nullptr)) < 0) {
      // Only EINTR: a debugger, or the process was stopped and continued.
    }
  } else {
    constexpr int64_t kSecond = 1'000'000'000;
    const timespec time{.tv_sec = limit.count() / kSecond,
                        .tv_nsec = limit.count() % kSecond};
    signal = sigtimedwait(&set, nullptr, &time);
    if (signal < 0) return Event::kTimeout;
  }
  if (signal == SIGUSR1) return Event::kStats;
  return signal == kWakeSignal ? Event::kWoken : Event::kEnd;
}

bool Signals::IsEndPending() {
  sigset_t pending;
  sigemptyset(&pending);
  sigpending(&pending);
  return sigismember(&pending, SIGINT) == 1 ||
         sigismember(&pending, SIGTERM) == 1 ||
         sigismember(&pending, SIGHUP) == 1;
}

void Signals::Wake() { kill(getpid(), kWakeSignal); }

}  // namespace yamanote::tools
