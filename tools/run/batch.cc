// batch.cc - follows the commands for its cores, and has the program's threads follow.

#include "tools/run/batch.h"

#include <fmt/format.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <thread>
#include <utility>

#include "tools/run/program.h"

namespace yamanote::tools {
namespace {

namespace fs = std::filesystem;

// How often it looks. Its cores are others' as soon as these want to run, whatever mask
// the program has; so this only bounds for how long it leaves a free one unused.
constexpr auto kLookPause = std::chrono::milliseconds(2);
// It leaves a core that has not been its own for so long. Sooner would cost more than it
// gives where cores come and go: it is beneath who has them.
constexpr auto kLeaveAfter = std::chrono::milliseconds(20);
constexpr int kMostRounds = 16;

std::vector<pid_t> Numbers(const std::string& path) {
  std::ifstream file(path);
  return {std::istream_iterator<pid_t>(file), std::istream_iterator<pid_t>()};
}

std::vector<pid_t> TasksOf(pid_t process) {
  std::vector<pid_t> tasks;
  std::error_code gone;
  fs::directory_iterator entry(fmt::format("/proc/{}/task", process), gone);
  while (!gone && entry != fs::directory_iterator()) {
    const std::string name = entry->path().filename();
    pid_t task = 0;
    if (std::from_chars(name.data(), name.data() + name.size(), task).ec ==
        std::errc())
      tasks.push_back(task);
    entry.increment(gone);
  }
  return tasks;
}

cpu_set_t SetOf(std::span<const int> cpus) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int cpu : cpus) CPU_SET(static_cast<unsigned>(cpu), &set);
  return set;
}

std::vector<int> Granted(const arbiter::Link& link) {
  std::vector<int> cpus;
  for (CoreId core = 0; core < link.cpus().size(); ++core) {
    if (link.MayCome(core, link.Word(core))) cpus.push_back(link.cpus()[core]);
  }
  return cpus;
}

// Registers with the next arbiter when one is lost. Until then the program has the cores
// that it had.
class Rejoining {
 public:
  // Gives up waiting for an answer when `end` becomes readable.
  Rejoining(arbiter::Client& client, int end) : client_(client), end_(end) {}

  void Look() {
    if (!client_.link().Lost() || Clock::now() < next_) return;
    const Result<void> done = client_.Reconnect(client_.link().Held(), end_);
    if (done) {
      client_.Publish();
      said_ = false;
      return;
    }
    next_ = Clock::now() + std::chrono::milliseconds(100);
    if (arbiter::MayPass(done.error())) return;
    next_ = Clock::now() + std::chrono::seconds(1);
    if (std::exchange(said_, true)) return;
    fmt::print(stderr,
               "yamanote: not registered with the arbiter any more, so the "
               "program stays where it is: {}\n",
               done.error().message);
  }

 private:
  arbiter::Client& client_;
  const int end_;
  Instant next_{};
  bool said_ = false;
};

}  // namespace

std::vector<pid_t> ThreadsBelow(pid_t root) {
  std::vector<pid_t> threads;
  std::vector<pid_t> processes = {root};
  std::set<pid_t> seen = {root};
  while (!processes.empty()) {
    const pid_t process = processes.back();
    processes.pop_back();
    for (const pid_t task : TasksOf(process)) {
      threads.push_back(task);
      for (const pid_t child :
           Numbers(fmt::format("/proc/{}/task/{}/children", process, task))) {
        if (seen.insert(child).second) processes.push_back(child);
      }
    }
  }
  return threads;
}

void MoveAll(pid_t root, std::span<const int> cpus) {
  const cpu_set_t set = SetOf(cpus);
  std::set<pid_t> moved;
  for (int round = 0; round < kMostRounds; ++round) {
    bool more = false;
    for (const pid_t thread : ThreadsBelow(root)) {
      if (!moved.insert(thread).second) continue;
      more = true;
      sched_setaffinity(thread, sizeof set, &set);
    }
    // What these have started before they were moved has the old mask.
    if (!more) return;
  }
}

std::vector<int> LastingCores::Look(std::span<const int> granted, Instant now) {
  for (const int cpu : granted) last_[cpu] = now;
  std::erase_if(
      last_, [&](const auto& one) { return now - one.second >= leave_after_; });
  std::vector<int> cpus;
  for (const auto& [cpu, seen] : last_) cpus.push_back(cpu);
  return cpus;
}

Result<int> RunBatch(arbiter::Client& client,
                     const std::vector<std::string>& arguments) {
  sigset_t ours;
  sigemptyset(&ours);
  for (const int number : kHandedOn) sigaddset(&ours, number);
  sigaddset(&ours, SIGCHLD);
  sigset_t before;
  sigprocmask(SIG_BLOCK, &ours, &before);

  const int pending = signalfd(-1, &ours, SFD_CLOEXEC);
  Rejoining rejoining(client, pending);
  std::vector<int> cpus;
  const timespec pause{.tv_sec = 0,
                       .tv_nsec = std::chrono::nanoseconds(kLookPause).count()};
  while ((cpus = Granted(client.link())).empty()) {
    rejoining.Look();
    // All cores are somebody's.
    const int number = sigtimedwait(&ours, nullptr, &pause);
    if (number > 0 && number != SIGCHLD) return 128 + number;
  }

  Result<Program> program = Program::Prepare(arguments, before, [&cpus] {
    const cpu_set_t set = SetOf(cpus);
    sched_setaffinity(0, sizeof set, &set);
    const sched_param none{};
    sched_setscheduler(0, SCHED_IDLE, &none);
  });
  if (!program) return tl::unexpected(program.error());
  if (Result<void> started = program->Go(); !started)
    return tl::unexpected(started.error());
  const pid_t child = program->pid();
  int status = 0;
  // Moving its threads is not worth anybody's time but theirs.
  setpriority(PRIO_PROCESS, 0, 19);
  LastingCores cores(kLeaveAfter);
  while (waitpid(child, &status, WNOHANG) == 0) {
    const int number = sigtimedwait(&ours, nullptr, &pause);
    if (number > 0 && number != SIGCHLD) kill(child, number);
    rejoining.Look();
    const std::vector<int> now =
        cores.Look(Granted(client.link()), Clock::now());
    // Where it is granted none it stays, beneath those who are.
    if (now.empty() || now == cpus) continue;
    cpus = now;
    MoveAll(child, cpus);
  }
  if (pending >= 0) close(pending);
  return ExitStatusOf(status);
}

}  // namespace yamanote::tools
