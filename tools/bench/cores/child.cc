// child.cc - forks, watches, ends.

#include "tools/bench/cores/child.h"

#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <exception>
#include <thread>

namespace yamanote::bench {

Result<Child> Child::Fork(const std::function<int()>& body) {
  std::fflush(nullptr);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0)
    return MakeError(ErrorCode::kResourceExhausted, "no process is left",
                     errno);
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    // What the parent does to be interrupted is not the child's.
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_DFL);
    int status = 1;
    try {
      status = body();
    } catch (const std::exception& error) {
      std::fprintf(stderr, "yamanote: %s\n", error.what());
    }
    std::fflush(nullptr);
    _exit(status);
  }
  Child child;
  child.pid_ = pid;
  return child;
}

Child& Child::operator=(Child&& other) noexcept {
  if (this != &other) {
    End();
    pid_ = std::exchange(other.pid_, 0);
  }
  return *this;
}

bool Child::Alive() {
  if (pid_ == 0) return false;
  siginfo_t info{};
  return waitid(P_PID, static_cast<id_t>(pid_), &info,
                WEXITED | WNOHANG | WNOWAIT) == 0 &&
         info.si_pid == 0;
}

Duration Child::Cpu() const {
  clockid_t clock = 0;
  timespec time{};
  if (pid_ == 0 || clock_getcpuclockid(pid_, &clock) != 0 ||
      clock_gettime(clock, &time) != 0)
    return Duration::zero();
  return std::chrono::seconds(time.tv_sec) + Duration(time.tv_nsec);
}

void KeepTo(std::span<const int> cpus) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int cpu : cpus) CPU_SET(static_cast<size_t>(cpu), &set);
  sched_setaffinity(0, sizeof set, &set);
}

void Child::End() {
  using namespace std::chrono_literals;
  if (pid_ == 0) return;
  kill(pid_, SIGTERM);
  const auto patience = std::chrono::steady_clock::now() + 2s;
  int status = 0;
  while (waitpid(pid_, &status, WNOHANG) == 0) {
    if (std::chrono::steady_clock::now() > patience) {
      kill(pid_, SIGKILL);
      waitpid(pid_, &status, 0);
      break;
    }
    std::this_thread::sleep_for(1ms);
  }
  pid_ = 0;
}

}  // namespace yamanote::bench
