// costs.cc - the measurements behind `yamanote doctor`.

#include "tools/doctor/costs.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <ctime>
#include <functional>
#include <thread>

#include "base/cpu.h"
#include "yamanote/runtime.h"
#include "yamanote/thread.h"

namespace yamanote::tools {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

Cost Summarise(std::string key, std::string label, std::string how,
               std::vector<double> samples) {
  Cost cost{std::move(key), std::move(label), 0, 0, std::move(how)};
  if (samples.empty()) return cost;
  std::sort(samples.begin(), samples.end());
  cost.median_ns = samples[samples.size() / 2];
  cost.p99_ns =
      samples[std::min(samples.size() - 1, samples.size() * 99 / 100)];
  return cost;
}

// Times `operation` in batches of `batch` until `limit` has passed; the samples
// are nanoseconds per operation.
template <typename Operation>
std::vector<double> TimeBatches(int batch, Duration limit,
                                Operation operation) {
  std::vector<double> samples;
  const Instant end = Clock::now() + limit;
  for (Instant before = Clock::now(); before < end;) {
    for (int i = 0; i < batch; ++i) operation();
    const Instant after = Clock::now();
    samples.push_back(static_cast<double>(ToNanos(after - before)) / batch);
    before = Clock::now();
  }
  return samples;
}

// ---- one CPU ----------------------------------------------------------------

void MeasureClock(Duration limit, std::vector<Cost>& costs) {
  std::atomic<int64_t> sink{0};  // Keeps the reads from being optimised away.
  costs.push_back(Summarise("clock_read", "clock read", "Yamanote's clock",
                            TimeBatches(100, limit, [&] {
                              sink.store(ToNanos(Clock::now()),
                                         std::memory_order_relaxed);
                            })));
  costs.push_back(Summarise("clock_gettime", "clock_gettime", "CLOCK_MONOTONIC",
                            TimeBatches(100, limit, [&] {
                              timespec now;
                              clock_gettime(CLOCK_MONOTONIC, &now);
                              sink.store(now.tv_nsec,
                                         std::memory_order_relaxed);
                            })));
}

void MeasureSystemCalls(Duration limit, std::vector<Cost>& costs) {
  costs.push_back(
      Summarise("system_call", "system call", "getppid",
                TimeBatches(100, limit, [] { syscall(SYS_getppid); })));
  const int set = epoll_create1(EPOLL_CLOEXEC);
  const int event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  epoll_event event{};
  event.events = EPOLLIN;
  epoll_ctl(set, EPOLL_CTL_ADD, event_fd, &event);
  costs.push_back(Summarise(
      "epoll_poll", "poll without waiting", "epoll_wait(0), nothing ready",
      TimeBatches(100, limit, [&] { epoll_wait(set, &event, 1, 0); })));
  close(event_fd);
  close(set);
}

// Two sockets of one thread: the kernel's path twice each way, no wake-up.
void MeasureUdp(Duration limit, std::vector<Cost>& costs) {
  const int a = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const int b = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const auto bind_to_any_port = [](int fd, sockaddr_in& address) {
    address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    return bind(fd, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
           getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0;
  };
  sockaddr_in at_a, at_b;
  if (a >= 0 && b >= 0 && bind_to_any_port(a, at_a) &&
      bind_to_any_port(b, at_b) &&
      connect(a, reinterpret_cast<sockaddr*>(&at_b), sizeof(at_b)) == 0 &&
      connect(b, reinterpret_cast<sockaddr*>(&at_a), sizeof(at_a)) == 0) {
    // A lost datagram ends it.
    const timeval patience{.tv_sec = 0, .tv_usec = 100'000};
    setsockopt(a, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(b, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    char message[32] = {};
    bool ok = true;
    std::vector<double> samples = TimeBatches(10, limit, [&] {
      ok = ok && send(a, message, sizeof(message), 0) > 0 &&
           recv(b, message, sizeof(message), 0) > 0 &&
           send(b, message, sizeof(message), 0) > 0 &&
           recv(a, message, sizeof(message), 0) > 0;
    });
    if (ok) {
      costs.push_back(Summarise("udp_round_trip", "UDP round trip",
                                "32 bytes over loopback and back, one thread",
                                std::move(samples)));
    }
  }
  if (a >= 0) close(a);
  if (b >= 0) close(b);
}

void Futex(std::atomic<uint32_t>& word, int operation, uint32_t value) {
  syscall(SYS_futex, &word, operation, value, nullptr, nullptr, 0);
}

// Two kernel threads on one CPU hand a futex to and fro: what a blocking call
// costs a thread of the kernel's.
void MeasureKernelSwitch(int cpu, Duration limit, std::vector<Cost>& costs) {
  // 0, 1: whose turn it is. 2: over.
  std::atomic<uint32_t> turn{0};
  const auto pass = [&turn](uint32_t from, uint32_t to) {
    uint32_t expected = from;
    if (!turn.compare_exchange_strong(expected, to)) return false;
    Futex(turn, FUTEX_WAKE_PRIVATE, 1);
    while ((expected = turn.load()) == to && to != 2)
      Futex(turn, FUTEX_WAIT_PRIVATE, to);
    return expected != 2;
  };
  std::vector<double> samples;
  std::thread other([&] {
    PinTo(cpu);
    while (turn.load() == 0) Futex(turn, FUTEX_WAIT_PRIVATE, 0);
    while (pass(1, 0)) {
    }
  });
  std::thread timing([&] {
    PinTo(cpu);
    // A round trip is two switches, each with its wake and its wait.
    samples = TimeBatches(20, limit, [&] { pass(0, 1); });
    turn.store(2);
    Futex(turn, FUTEX_WAKE_PRIVATE, 2);
  });
  timing.join();
  other.join();
  for (double& sample : samples) sample /= 2;
  costs.push_back(Summarise("kernel_switch", "kernel thread switch",
                            "futex hand-over on one CPU, one way",
                            std::move(samples)));
}

// Two user threads on one worker give way to each other: our switch, with the
// queue between. Needs that the process has no runtime, which is so here.
void MeasureUserSwitch(int cpu, Duration limit, std::vector<Cost>& costs) {
  RuntimeOptions options;
  options.cpus = {cpu};
  // One queue per core, no slice.
  const Result<Scheduling> plain = FindPreset("ix");
  if (!plain) return;
  options.scheduling = *plain;
  Result<std::unique_ptr<Runtime>> runtime = Runtime::Create(options);
  if (!runtime) return;
  std::vector<double> samples;
  (*runtime)->Run([&] {
    std::atomic<bool> over{false};
    Thread other([&] {
      while (!over.load(std::memory_order_relaxed)) this_thread::yield();
    });
    samples = TimeBatches(50, limit, [] { this_thread::yield(); });
    over.store(true);
    other.join();
  });
  for (double& sample : samples) sample /= 2;  // There and back.
  costs.push_back(Summarise("user_switch", "user thread switch",
                            "yield to another on one CPU, one way",
                            std::move(samples)));
}

// ---- two CPUs ---------------------------------------------------------------

// Passes one cache line to and fro; nanoseconds one way.
double MeasureHop(int from, int to, Duration limit) {
  struct alignas(base::kNoSharing) Line {
    std::atomic<uint32_t> value{0};
  };
  Line line;
  std::atomic<bool> over{false};
  std::thread responder([&] {
    PinTo(to);
    for (uint32_t next = 1; !over.load(std::memory_order_relaxed); next += 2) {
      while (line.value.load(std::memory_order_acquire) != next) {
        if (over.load(std::memory_order_relaxed)) return;
      }
      line.value.store(next + 1, std::memory_order_release);
    }
  });
  std::vector<double> samples;
  std::thread timing([&] {
    PinTo(from);
    uint32_t next = 1;
    samples = TimeBatches(50, limit, [&] {
      line.value.store(next, std::memory_order_release);
      // Pairs with the responder's release; ends because the responder answers
      // until `over`, which only this thread's end sets.
      while (line.value.load(std::memory_order_acquire) != next + 1) {
      }
      next += 2;
    });
    over.store(true);
  });
  timing.join();
  responder.join();
  std::sort(samples.begin(), samples.end());
  return samples.empty() ? 0 : samples[samples.size() / 10] / 2;
}

void MeasureHops(const base::Topology& topology, Duration budget,
                 Costs& result) {
  std::vector<std::pair<int, int>> pairs;
  for (size_t a = 0; a < topology.cpus.size(); ++a) {
    for (size_t b = a + 1; b < topology.cpus.size(); ++b) {
      pairs.emplace_back(topology.cpus[a].number, topology.cpus[b].number);
    }
  }
  result.pairs = pairs.size();
  if (pairs.empty()) return;
  // Large machines: evenly spread over the pairs, a millisecond at least each.
  const Duration each =
      std::clamp<Duration>(budget / static_cast<int>(pairs.size()),
                           milliseconds(1), milliseconds(30));
  const auto most = std::max<size_t>(1, static_cast<size_t>(budget / each));
  const size_t step = (pairs.size() + most - 1) / most;
  for (size_t i = 0; i < pairs.size(); i += step) {
    const auto [from, to] = pairs[i];
    result.hops.push_back(
        {from, to, topology.Between(from, to), MeasureHop(from, to, each)});
  }
  std::vector<double> medians;
  for (const Hop& hop : result.hops) medians.push_back(hop.ns);
  result.costs.push_back(
      Summarise("cache_line_hop", "cache-line hop",
                "one line from core to core, one way, over all pairs",
                std::move(medians)));
}

// How long after FUTEX_WAKE a thread that slept on an idle CPU runs.
void MeasureFutexWake(int waker_cpu, int sleeper_cpu, Duration limit,
                      std::vector<Cost>& costs) {
  std::atomic<uint32_t> word{0};
  std::atomic<int64_t> woke_at{0};
  std::atomic<bool> asleep{false};
  std::thread sleeper([&] {
    PinTo(sleeper_cpu);
    for (uint32_t round = 0;; ++round) {
      asleep.store(true);
      while (word.load() == round) Futex(word, FUTEX_WAIT_PRIVATE, round);
      woke_at.store(ToNanos(Clock::now()));
      if (word.load() == UINT32_MAX) return;
    }
  });
  std::vector<double> samples, calls;
  std::thread waker([&] {
    PinTo(waker_cpu);
    const Instant end = Clock::now() + limit;
    for (uint32_t round = 0; Clock::now() < end; ++round) {
      while (!asleep.exchange(false)) base::Pause();
      // Long enough for the sleeper's CPU to go idle, which is what is measured.
      const timespec idle{.tv_sec = 0, .tv_nsec = 300'000};
      nanosleep(&idle, nullptr);
      woke_at.store(0);
      const Instant before = Clock::now();
      word.store(round + 1);
      Futex(word, FUTEX_WAKE_PRIVATE, 1);
      const Instant after = Clock::now();
      int64_t woke = 0;
      while ((woke = woke_at.load()) == 0) base::Pause();
      samples.push_back(static_cast<double>(woke - ToNanos(before)));
      calls.push_back(static_cast<double>(ToNanos(after - before)));
    }
    word.store(UINT32_MAX);
    Futex(word, FUTEX_WAKE_PRIVATE, 1);
  });
  waker.join();
  sleeper.join();
  costs.push_back(Summarise("futex_wake", "wake of an idle core",
                            "from FUTEX_WAKE to the sleeper running",
                            std::move(samples)));
  costs.push_back(Summarise("futex_wake_call", "  of it the waker pays",
                            "the system call", std::move(calls)));
}

// Written by the handler on the target, read by the sender.
std::atomic<int64_t> g_signal_at{0};

void OnSignal(int) { g_signal_at.store(ToNanos(Clock::now())); }

// How long after pthread_kill the handler runs on another, busy CPU.
void MeasureSignal(int sender_cpu, int target_cpu, Duration limit,
                   std::vector<Cost>& costs) {
  struct sigaction action{};
  struct sigaction previous{};
  action.sa_handler = OnSignal;
  // SIGURG: ignored by default, so harmless.
  sigaction(SIGURG, &action, &previous);
  std::atomic<bool> ready{false}, over{false};
  std::thread target([&] {
    PinTo(target_cpu);
    ready.store(true);
    while (!over.load(std::memory_order_relaxed)) base::Pause();
  });
  std::vector<double> samples, calls;
  std::thread sender([&] {
    PinTo(sender_cpu);
    while (!ready.load()) base::Pause();
    const Instant end = Clock::now() + limit;
    while (Clock::now() < end) {
      g_signal_at.store(0);
      const Instant before = Clock::now();
      pthread_kill(target.native_handle(), SIGURG);
      const Instant after = Clock::now();
      int64_t at = 0;
      while ((at = g_signal_at.load()) == 0) base::Pause();
      samples.push_back(static_cast<double>(at - ToNanos(before)));
      calls.push_back(static_cast<double>(ToNanos(after - before)));
    }
    over.store(true);
  });
  sender.join();
  target.join();
  sigaction(SIGURG, &previous, nullptr);
  costs.push_back(Summarise("signal", "signal to another core",
                            "from pthread_kill to the handler running",
                            std::move(samples)));
  costs.push_back(Summarise("signal_call", "  of it the sender pays",
                            "the system call", std::move(calls)));
}

void MeasureCoreMoves(int arbiter_cpu, int core_cpu, Duration limit,
                      std::vector<Cost>& costs) {
  CoreMoves moves = TimeCoreMoves(arbiter_cpu, core_cpu, limit);
  costs.push_back(Summarise("core_grant", "grant of an idle core",
                            "from the arbiter's command to the worker running",
                            std::move(moves.grants)));
  costs.push_back(Summarise("core_revoke", "leaving a revoked core",
                            "from seeing it to the heir being woken",
                            std::move(moves.revocations)));
  costs.push_back(Summarise("core_hand_over", "hand-over of a core",
                            "from seeing it to the heir running there",
                            std::move(moves.hand_overs)));
}

}  // namespace

void PinTo(int cpu) {
  constexpr int kMaxCpus = 8192;
  cpu_set_t* const set = CPU_ALLOC(kMaxCpus);
  const size_t bytes = CPU_ALLOC_SIZE(kMaxCpus);
  CPU_ZERO_S(bytes, set);
  CPU_SET_S(static_cast<size_t>(cpu), bytes, set);
  sched_setaffinity(0, bytes, set);
  CPU_FREE(set);
}

Costs MeasureCosts(const base::Topology& topology, Duration budget) {
  // Shares of the budget; together less than one, for starting threads takes time.
  const Duration share = budget / 16;
  Costs result;
  const int first = topology.cpus.front().number;
  MeasureClock(share / 4, result.costs);
  MeasureSystemCalls(share / 2, result.costs);
  MeasureUdp(share, result.costs);
  MeasureKernelSwitch(first, share, result.costs);
  MeasureUserSwitch(first, share, result.costs);
  std::vector<int> cpus{first};
  if (topology.cpus.size() >= 2) cpus.push_back(topology.cpus.back().number);
  result.costs.push_back(
      Summarise("preemption", "preemption",
                "from one task's probe to another's first step",
                TimePreemptions(cpus, 2 * share)));
  if (topology.cpus.size() >= 2) {
    const int second = topology.cpus.back().number;
    MeasureHops(topology, 3 * share, result);
    MeasureFutexWake(first, second, 2 * share, result.costs);
    MeasureSignal(first, second, share, result.costs);
    MeasureCoreMoves(first, second, 2 * share, result.costs);
  }
  return result;
}

}  // namespace yamanote::tools
