// daemon.cc - the two loops.

#include "arbiter/daemon.h"

#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>

#include "base/cpu.h"

namespace yamanote::arbiter {

std::string_view ToString(DaemonOptions::Mode mode) {
  return mode == DaemonOptions::Mode::kEvents ? "events" : "polling";
}

Result<std::unique_ptr<Daemon>> Daemon::Create(DaemonOptions options,
                                               Kernel& kernel) {
  std::unique_ptr<Daemon> daemon(new Daemon(std::move(options), kernel));
  Result<SharedMemory> board = SharedMemory::Create(
      "yamanote-board", kBoardBytes, SharedMemory::Writer::kOurs);
  if (!board) return tl::unexpected(board.error());
  daemon->board_ = std::move(*board);
  Result<SharedMemory> handover = SharedMemory::Create(
      "yamanote-handover", kHandoverBytes, SharedMemory::Writer::kTheirs);
  if (!handover) return tl::unexpected(handover.error());
  daemon->handover_ = std::move(*handover);
  daemon->arbiter_ = std::make_unique<Arbiter>(daemon->options_.arbiter,
                                               daemon->board_.data(), kernel);
  Result<std::unique_ptr<Server>> server =
      Server::Create(daemon->options_.server, *daemon->arbiter_,
                     {.board = daemon->board_.descriptor(),
                      .handover = daemon->handover_.descriptor()},
                     kernel);
  if (!server) return tl::unexpected(server.error());
  daemon->server_ = std::move(*server);
  if (daemon->options_.end >= 0) {
    const Result<void> watched = daemon->server_->Watch(daemon->options_.end);
    if (!watched) return tl::unexpected(watched.error());
  }
  return daemon;
}

void Daemon::Run() {
  if (options_.mode == DaemonOptions::Mode::kPolling) {
    RunPolling();
  } else {
    RunByEvents();
  }
  // Who is late would stay where it was moved to.
  arbiter_->Restore();
}

namespace {

// Everybody waits for a pass, which is short: it goes before others, and its slice is the
// shortest that there is, so that it need not wait for the end of theirs (Linux 6.12;
// before, the slice is ignored). Without the right to it, it takes its turn.
void GoFirst() {
  struct {
    uint32_t size;
    uint32_t policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime;
    uint64_t deadline;
    uint64_t period;
  } attributes{};  // sched_setattr(2); there is no header that all have.
  attributes.size = sizeof attributes;
  attributes.policy = SCHED_OTHER;
  attributes.nice = -20;
  attributes.runtime = 100'000;  // ns.
  static_cast<void>(syscall(SYS_sched_setattr, 0, &attributes, 0));
}

}  // namespace

void Daemon::RunByEvents() {
  GoFirst();
  // The kernel's 50 us of slack would be added to each deadline.
  prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
  bool again = false;
  for (;;) {
    // From here on whoever shows something kicks, too, so the pass is the look before
    // the sleep.
    const bool waited_for = arbiter_->AnybodyWaits();
    arbiter_->SetSleeping(waited_for ? kWaitedFor : kAsleep);
    const Duration now = kernel_.Now();
    arbiter_->Pass(now);
    if (!waited_for && arbiter_->AnybodyWaits()) {
      // From here on who leaves a core that it keeps does, too.
      arbiter_->SetSleeping(kWaitedFor);
      arbiter_->Look(kernel_.Now());
    }
    Duration due = arbiter_->NextDue(now, options_.idle_interval);
    // A policy that compares two passes learns of a need in the second one.
    if (again) due = std::min(due, now + options_.least_gap);
    Duration left = due == Duration::max() ? due : due - kernel_.Now();
    const Server::Heard heard = server_->Wait(left);
    arbiter_->SetSleeping(kAwake);
    if (heard.ended) return;
    again = heard.kicked;
    // Further kicks wait, and so do we.
    while ((left = now + options_.least_gap - kernel_.Now()) >
           Duration::zero()) {
      const Server::Heard more = server_->Wait(left);
      if (more.ended) return;
      again = again || more.kicked;
    }
  }
}

void Daemon::RunPolling() {
  if (options_.poll_cpu >= 0) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(static_cast<unsigned>(options_.poll_cpu), &set);
    // Refused, it polls where it is; said when the options were checked.
    static_cast<void>(sched_setaffinity(0, sizeof set, &set));
  }
  constexpr Duration kListenInterval = std::chrono::microseconds(100);
  Duration next = kernel_.Now();
  Duration listened{0};
  for (;;) {
    const Duration now = kernel_.Now();
    if (now < next) {
      base::Pause();
      continue;
    }
    arbiter_->Pass(now);
    // What was missed is not made up for.
    next = std::max(next + options_.interval, now);
    if (now - listened < kListenInterval) continue;
    listened = now;
    if (server_->Wait(Duration::zero()).ended) return;
  }
}

}  // namespace yamanote::arbiter
