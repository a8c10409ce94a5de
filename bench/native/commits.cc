// commits.cc - what messages and commits cost above the kernel's tracepoints.
//
//   bench_native_commits remote|local|group [ROUNDS]    as root, two CPUs; a second each
//
// A program's threads wait for a byte, use the CPU for 200 us, and wait again; the enclave
// is the last CPU. This program is its agent, without an order: it takes the message of a
// wake-up, commits the thread with the message's number, and waits until it has blocked.
//
//   remote   it polls on another CPU, and commits one thread
//   local    it sleeps on the enclave's CPU, above the threads, and commits one
//   group    as remote, with ten threads in one group: each replaces the one before it,
//            for there is one CPU, so ten for ten idle CPUs would cost less
//
// Prints a line for each figure: `NAME COUNT P50 P90 P99`, in ns, and last `tsc CYCLES_PER_NS`.
// `delivery` is from the event, as the message says, until the agent has read it; `receive`
// what reading that one costs the agent, `receive-other` another (a thread that has blocked
// gets its class back); `commit` the whole call; `setscheduler` one change of
// a blocked thread's class by the system call, of which a commit makes one or two.

#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <x86intrin.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <string_view>
#include <thread>
#include <vector>

#include "native/settings.h"
#include "native/tracing.h"

namespace {

using yamanote::CoreId;
using yamanote::kNoCore;
using namespace yamanote::native;

constexpr int kGroup = 10;
constexpr uint64_t kBurnNs = 200'000;
constexpr uint64_t kPatienceNs = 3'000'000'000;

[[noreturn]] void Fail(const char* what) {
  std::fprintf(stderr, "bench_native_commits: %s\n", what);
  std::exit(1);
}

// ---- The program that is scheduled ---------------------------------------------

struct Gates {
  int ends[kGroup][2];
};

[[noreturn]] void BeProgram(const Gates& gates, int threads) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  std::vector<std::thread> all;
  for (int i = 0; i < threads; ++i) {
    all.emplace_back([&gates, i] {
      char byte = 0;
      while (read(gates.ends[i][0], &byte, 1) == 1) {
        timespec used{};
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
        const auto now = [&used] {
          return static_cast<uint64_t>(used.tv_sec) * 1'000'000'000 +
                 static_cast<uint64_t>(used.tv_nsec);
        };
        const uint64_t end = now() + kBurnNs;
        while (now() < end) clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
      }
    });
  }
  for (std::thread& thread : all) thread.join();
  _exit(0);
}

// ---- Figures ---------------------------------------------------------------------

class Figures {
 public:
  void Add(const char* name, double ns) { samples_[name].push_back(ns); }
  void Print() {
    for (auto& [name, values] : samples_) {
      std::sort(values.begin(), values.end());
      const auto at = [&values](double q) {
        return values[static_cast<std::size_t>(
            q * static_cast<double>(values.size() - 1))];
      };
      std::printf("%s %zu %.0f %.0f %.0f\n", name.c_str(), values.size(),
                  at(0.5), at(0.9), at(0.99));
    }
  }

 private:
  std::map<std::string, std::vector<double>> samples_;
};

double CyclesPerNs() {
  const uint64_t ns = MonotonicNanos();
  const uint64_t cycles = __rdtsc();
  while (MonotonicNanos() - ns < 20'000'000) {
  }
  const uint64_t passed = __rdtsc() - cycles;
  return static_cast<double>(passed) /
         static_cast<double>(MonotonicNanos() - ns);
}

// ---- The agent -------------------------------------------------------------------

class Agent {
 public:
  Agent(TracingKernel& kernel, QueueId queue, bool sleeps, Figures& figures)
      : kernel_(kernel),
        queue_(queue),
        sleeps_(sleeps),
        cycles_per_ns_(CyclesPerNs()),
        figures_(figures) {}

  double cycles_per_ns() const { return cycles_per_ns_; }

  // The next message; waits for it.
  Message Next() {
    const uint64_t until = MonotonicNanos() + kPatienceNs;
    for (;;) {
      Message message{};
      const uint64_t before = __rdtsc();
      const bool received = kernel_.Receive(queue_, message);
      const uint64_t after = __rdtsc();
      if (received) {
        const uint64_t now = MonotonicNanos();
        figures_.Add(
            message.type == kThreadWakeup ? "receive" : "receive-other",
            Ns(after - before));
        if (message.type == kThreadWakeup && now > message.at_ns)
          figures_.Add("delivery", static_cast<double>(now - message.at_ns));
        return message;
      }
      if (MonotonicNanos() > until) Fail("no message came for 3 s");
      if (sleeps_) kernel_.Wait(0, std::chrono::milliseconds(100));
    }
  }

  // Waits until so many threads have woken, and returns a transaction for each.
  std::vector<Transaction> Woken(std::size_t threads) {
    std::vector<Transaction> woken;
    while (woken.size() < threads) {
      const Message message = Next();
      blocked_ += message.type == kThreadBlocked ? 1 : 0;
      if (message.type != kThreadWakeup) continue;
      woken.push_back({.thread = message.thread,
                       .core = 0,
                       .flags = kCheckThread,
                       .thread_sequence = message.sequence,
                       .agent_sequence = 0,
                       .agent = 0,
                       .result = kCommitNone});
    }
    return woken;
  }

  void Commit(std::vector<Transaction>& group) {
    const uint64_t before = __rdtsc();
    kernel_.Commit(group);
    const uint64_t after = __rdtsc();
    const bool all = std::ranges::all_of(
        group, [](const Transaction& t) { return t.result == kCommitted; });
    figures_.Add(all ? "commit" : "commit-partly", Ns(after - before));
  }

  // Waits until so many have blocked since the last call.
  void Blocked(std::size_t threads) {
    while (blocked_ < threads)
      blocked_ += Next().type == kThreadBlocked ? 1 : 0;
    blocked_ = 0;
  }

 private:
  double Ns(uint64_t cycles) const {
    return static_cast<double>(cycles) / cycles_per_ns_;
  }

  TracingKernel& kernel_;
  const QueueId queue_;
  const bool sleeps_;
  const double cycles_per_ns_;
  Figures& figures_;
  std::size_t blocked_ = 0;
};

// One change of the class of a thread that does nothing, and back.
void MeasureFloor(double cycles_per_ns, Figures& figures) {
  std::atomic<pid_t> tid{0};
  std::atomic<bool> stop{false};
  std::thread idle([&] {
    tid = static_cast<pid_t>(syscall(SYS_gettid));
    tid.notify_all();
    stop.wait(false);
  });
  tid.wait(0);
  for (int i = 0; i < 500; ++i) {
    for (const int policy : {SCHED_FIFO, SCHED_OTHER}) {
      const sched_param parameters{.sched_priority =
                                       policy == SCHED_FIFO ? 1 : 0};
      const uint64_t before = __rdtsc();
      const int failed = sched_setscheduler(tid, policy, &parameters);
      const uint64_t after = __rdtsc();
      if (failed != 0) Fail("sched_setscheduler failed: it needs root");
      figures.Add("setscheduler",
                  static_cast<double>(after - before) / cycles_per_ns);
    }
  }
  stop = true;
  stop.notify_all();
  idle.join();
}

unsigned LastCpu() {
  cpu_set_t set;
  CPU_ZERO(&set);
  sched_getaffinity(0, sizeof set, &set);
  for (unsigned cpu = CPU_SETSIZE; cpu-- > 0;)
    if (CPU_ISSET(cpu, &set)) return cpu;
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view mode = argc > 1 ? argv[1] : "";
  const int rounds = argc > 2 ? std::atoi(argv[2]) : 1000;
  if ((mode != "remote" && mode != "local" && mode != "group") || rounds < 1) {
    std::fprintf(stderr,
                 "usage: bench_native_commits remote|local|group [ROUNDS]\n");
    return 2;
  }
  const int threads = mode == "group" ? kGroup : 1;
  const unsigned cpu = LastCpu();
  if (cpu == 0) Fail("this needs two CPUs");

  Gates gates{};
  for (auto& ends : gates.ends)
    if (pipe(ends) != 0) Fail("no pipe");
  const pid_t program = fork();
  if (program == 0) BeProgram(gates, threads);

  // Not where the threads are.
  cpu_set_t others;
  sched_getaffinity(0, sizeof others, &others);
  CPU_CLR(cpu, &others);
  sched_setaffinity(0, sizeof others, &others);

  auto made = TracingKernel::Create({.cpus = {cpu}});
  if (!made) Fail(made.error().message.c_str());
  TracingKernel& kernel = **made;
  const QueueId queue = kernel.CreateQueue(4096).value();
  if (!kernel.AssociateCore(kNoCore, queue)) Fail("no queue for all threads");
  const bool local = mode == "local";
  if (local && !kernel.ConfigureWake(queue, 0)) Fail("no agent for the queue");
  // Its threads are there before they join.
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  if (!kernel.Add(program)) Fail("the program did not join");

  Figures figures;
  double cycles_per_ns = 0;
  std::atomic<int> opened{0};
  const auto open = [&gates](int thread) {
    if (write(gates.ends[thread][1], "", 1) != 1) Fail("no byte");
  };
  std::thread waker;
  if (local) {
    // On the other CPU: it opens the gate again when it is told to.
    waker = std::thread([&] {
      for (int done = 0; done < rounds; ++done) {
        opened.wait(done);
        std::this_thread::sleep_for(std::chrono::microseconds(200));
        open(0);
      }
    });
  }
  std::thread([&] {
    if (local) {
      cpu_set_t own;
      CPU_ZERO(&own);
      CPU_SET(cpu, &own);
      sched_setaffinity(0, sizeof own, &own);
      const sched_param above{.sched_priority = 2};
      if (sched_setscheduler(0, SCHED_FIFO, &above) != 0)
        Fail("sched_setscheduler failed: it needs root");
    }
    Agent agent(kernel, queue, local, figures);
    cycles_per_ns = agent.cycles_per_ns();
    for (int i = 0; i < rounds; ++i) {
      if (local) {
        ++opened;
        opened.notify_all();
      } else {
        for (int t = 0; t < threads; ++t) open(t);
      }
      std::vector<Transaction> group =
          agent.Woken(static_cast<std::size_t>(threads));
      agent.Commit(group);
      agent.Blocked(static_cast<std::size_t>(threads));
    }
  }).join();
  if (local) waker.join();
  kernel.Detach();
  kill(program, SIGKILL);
  waitpid(program, nullptr, 0);
  MeasureFloor(cycles_per_ns, figures);
  figures.Print();
  std::printf("tsc %.4f\n", cycles_per_ns);
  return 0;
}
