// registration.cc - waits for the arbiter to go, and for another one to come.

#include "worker/registration.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <system_error>
#include <utility>

#include "worker/engine.h"

namespace yamanote::worker {

Registration::Registration(Engine& engine, std::vector<int> tids)
    : engine_(engine),
      client_(*engine.client()),
      tids_(std::move(tids)),
      end_(eventfd(0, EFD_CLOEXEC)) {
  // Without a descriptor or a thread there is no second registration.
  if (end_ < 0) return;
  try {
    thread_ = std::thread([this] { Run(); });
  } catch (const std::system_error& error) {
    Say({ErrorCode::kResourceExhausted, error.what()});
  }
}

Registration::~Registration() {
  if (thread_.joinable()) {
    eventfd_write(end_, 1);
    thread_.join();
  }
  if (end_ >= 0) close(end_);
}

void Registration::Run() {
  pthread_setname_np(pthread_self(), "yamanote-ask");
  // The program's signals are for its own threads.
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
  Instant since = Clock::now();
  while (AwaitLoss()) {
    if (Clock::now() - since >= kStable) pause_ = kFirstPause;
    if (!RegisterAgain()) return;
    since = Clock::now();
  }
}

bool Registration::Pause(Duration pause) const {
  pollfd end{.fd = end_, .events = POLLIN, .revents = 0};
  const timespec time{.tv_sec = pause.count() / 1'000'000'000,
                      .tv_nsec = pause.count() % 1'000'000'000};
  return ppoll(&end, 1, &time, nullptr) == 0;
}

bool Registration::AwaitLoss() {
  arbiter::Link& link = client_.link();
  while (!link.Lost()) {
    std::array<pollfd, 2> awaited{
        pollfd{.fd = link.descriptor(), .events = POLLIN, .revents = 0},
        {.fd = end_, .events = POLLIN, .revents = 0}};
    poll(awaited.data(), awaited.size(), -1);
    if (awaited[1].revents != 0) return false;
  }
  return true;
}

bool Registration::RegisterAgain() {
  for (;;) {
    if (!Pause(pause_)) return false;
    const Result<void> registered = Register();
    if (registered) {
      said_.clear();
      return Follow();
    }
    pause_ = std::min(2 * pause_, kLongestPause);
    if (arbiter::MayPass(registered.error())) continue;
    Say(registered.error());
    pause_ = kRefusedPause;
    if (client_.link().descriptor() < 0) continue;  // It is alone already.
    client_.BeAlone();
    if (!Follow()) return false;
  }
}

// Until the arbiter has said which cores it keeps: nobody follows before.
Result<void> Registration::Register() {
  const arbiter::HeldCores held = client_.link().Held();
  if (auto opened = client_.Reconnect(held, end_); !opened) return opened;
  arbiter::Link& link = client_.next();
  if (auto told = link.SendWorkers(tids_); !told) return told;
  const Instant until = Clock::now() + kPatience;
  while (!link.Answered(held) && Clock::now() < until) {
    if (link.Lost() || !Pause(std::chrono::microseconds(100))) {
      return MakeError(ErrorCode::kUnavailable,
                       "the arbiter has closed the connection");
    }
  }
  return {};
}

// The new link counts from now on. Returns when every worker uses it, so that the old one
// may become the next. Not if one takes very long (its thread has no CPU, or its task does
// not give way) while the arbiter is lost again. Such a one may be about to write its answer
// to the arbiter before the last into the memory of the next. The worst outcome: of a grant
// with the same epoch that one believes that it is over, and the worker stays on the core,
// as a thread that never registered could, until it finds nothing to do there.
bool Registration::Follow() {
  constexpr Duration kMostOften = std::chrono::microseconds(50);
  constexpr Duration kLeastOften = std::chrono::milliseconds(50);
  engine_.placement().Watch(client_.next().signals(), client_.link().timed());
  client_.Publish();
  arbiter::Link& link = client_.link();
  const Instant patient_until = Clock::now() + kPatience;
  for (Duration pause = kMostOften;; pause = std::min(2 * pause, kLeastOften)) {
    bool all = true;
    for (CoreId core = 0; core < engine_.cores(); ++core) {
      if (engine_.worker(core).HasFollowed()) continue;
      all = false;
      // Asleep in one way or the other. A task that runs for long is let run: it follows
      // when the task gives way.
      engine_.parking().Notify({dispatch::Notify::kCore, core});
      engine_.worker(core).Visit();
    }
    if (all || (Clock::now() >= patient_until && link.Lost())) return true;
    if (!Pause(pause)) return false;
  }
}

void Registration::Say(const Error& error) {
  if (said_ == error.message) return;
  said_ = error.message;
  std::fprintf(stderr,
               "yamanote: not registered with the arbiter at '%s' any more, so "
               "this program has its guaranteed cores and no others: %s\n",
               client_.options().socket.c_str(), error.message.c_str());
}

}  // namespace yamanote::worker
