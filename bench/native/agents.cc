// agents.cc - what agents cost, by cores and threads: their own time, without a kernel's.
//
//   bench_native_agents AGENTS CORES THREADS COMMITS [ORDER]
//                       for example global 64 10000 200000 fifo
//
// The production agents, placement and order over memory, and a kernel that says yes: no
// system call. This program plays the threads: whatever a pass has put on a core runs for a
// moment and blocks, and another wakes, so that every thread comes in turn and as many wait
// as there are more than cores. Only passes are timed. AGENTS:
//
//   global   one agent for all cores, which commits in groups; each pass reads what happened
//            on every core
//   cpu      an agent for each core; all pass in turn
//
// Prints `NS_PER_COMMIT COMMITS_PER_SECOND NS_PER_PASS PASSES MESSAGES`. One process is one
// sample; bench/native/agents.py alternates them.

#include "native/agents.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <string>
#include <vector>

namespace {

using yamanote::CoreId;
using yamanote::Duration;
using yamanote::ErrorCode;
using yamanote::Instant;
using yamanote::kNoCore;
using yamanote::PlacementKind;
using yamanote::Result;
using namespace yamanote::native;

// A ring of messages, which is never full here.
class Ring {
 public:
  explicit Ring(std::size_t size) : messages_(size) {}
  void Push(const Message& message) {
    messages_[head_++ % messages_.size()] = message;
  }
  bool Pop(Message& message) {
    if (tail_ == head_) return false;
    message = messages_[tail_++ % messages_.size()];
    return true;
  }

 private:
  std::vector<Message> messages_;
  std::size_t head_ = 0;
  std::size_t tail_ = 0;
};

// Every commit succeeds. Threads are 1 .. threads; all of generation 1.
class YesKernel final : public Kernel {
 public:
  YesKernel(unsigned cores, uint32_t threads)
      : cores_(cores),
        threads_(threads),
        running_(cores, 0),
        queue_of_core_(cores, 0),
        agent_sequence_(cores, 0),
        queue_of_thread_(threads, 0),
        sequence_(threads, 0) {}

  unsigned cores() const override { return cores_; }
  uint32_t max_threads() const override { return threads_; }
  Result<QueueId> CreateQueue(uint32_t) override {
    // Each thread has two messages in it at most.
    rings_.emplace_back(2 * std::size_t{threads_} + 16);
    wakes_.push_back(kNoCore);
    return static_cast<QueueId>(rings_.size() - 1);
  }
  Result<void> DestroyQueue(QueueId) override { return {}; }
  Result<void> ConfigureWake(QueueId queue, CoreId agent) override {
    wakes_[queue] = agent;
    return {};
  }
  Association Associate(ThreadId thread, QueueId queue, uint32_t) override {
    queue_of_thread_[IndexOf(thread)] = queue;
    return Association::kDone;
  }
  Result<void> AssociateCore(CoreId core, QueueId queue) override {
    if (core != kNoCore) queue_of_core_[core] = queue;
    return {};
  }
  bool Receive(QueueId queue, Message& message) override {
    return rings_[queue].Pop(message);
  }
  bool Overflowed(QueueId) override { return false; }
  void Detach() override {}
  uint32_t AgentSequence(CoreId core) const override {
    return agent_sequence_[core];
  }
  bool Read(ThreadId, StatusWord&) const override { return false; }
  void ForEachThread(
      const std::function<void(const StatusWord&)>&) const override {}
  bool MayRun(ThreadId, CoreId) const override { return true; }
  bool Available(CoreId) const override { return true; }
  void Commit(std::span<Transaction> group) override {
    for (Transaction& transaction : group) {
      running_[transaction.core] = transaction.thread;
      transaction.result = kCommitted;
    }
    commits += group.size();
  }
  void WakeAgent(CoreId) override {}
  void MoveAgent(CoreId, CoreId) override {}

  void Tell(uint32_t index, MessageType type, CoreId core) {
    const QueueId queue = queue_of_thread_[index];
    if (wakes_[queue] != kNoCore) ++agent_sequence_[wakes_[queue]];
    ++messages;
    rings_[queue].Push({.type = static_cast<uint8_t>(type),
                        .flags = static_cast<uint8_t>(
                            type == kThreadBlocked ? 0 : kStatusRunnable),
                        .weight = 1,
                        .core = core,
                        .thread = uint64_t{1} << 32 | index,
                        .sequence = ++sequence_[index],
                        .tid = static_cast<int32_t>(index) + 1,
                        .ran_ns = 0,
                        .at_ns = 0});
  }
  // What runs on `core` blocks; it is woken again behind all others.
  void End(CoreId core) {
    const ThreadId thread = std::exchange(running_[core], 0);
    if (thread == 0) return;
    Tell(IndexOf(thread), kThreadBlocked, core);
    Tell(IndexOf(thread), kThreadWakeup, core);
  }

  uint64_t commits = 0;
  uint64_t messages = 0;

 private:
  const unsigned cores_;
  const uint32_t threads_;
  std::vector<ThreadId> running_;
  std::vector<QueueId> queue_of_core_;
  std::vector<uint32_t> agent_sequence_;
  std::vector<QueueId> queue_of_thread_;
  std::vector<uint32_t> sequence_;
  std::deque<Ring> rings_;
  std::vector<CoreId> wakes_;
};

[[noreturn]] void Usage() {
  std::fprintf(stderr,
               "usage: bench_native_agents global|cpu CORES THREADS COMMITS "
               "[ORDER]; CORES 1 .. 256, THREADS at least CORES\n");
  std::exit(2);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5 || argc > 6) Usage();
  const bool global = std::strcmp(argv[1], "global") == 0;
  if (!global && std::strcmp(argv[1], "cpu") != 0) Usage();
  const auto cores = static_cast<unsigned>(std::atoi(argv[2]));
  const auto threads = static_cast<uint32_t>(std::atoi(argv[3]));
  const auto enough = static_cast<uint64_t>(std::atoll(argv[4]));
  if (cores < 1 || cores > 256 || threads < cores || enough < 1) Usage();

  YesKernel kernel(cores, threads);
  AgentOptions options;
  options.scheduling.order = argc == 6 ? argv[5] : "fifo";
  options.scheduling.placement =
      global ? PlacementKind::kCentral : PlacementKind::kStealing;
  const auto agents = Agents::Create(kernel, options, Instant());
  if (!agents) {
    std::fprintf(stderr, "%s\n", agents.error().message.c_str());
    return 1;
  }
  for (uint32_t i = 0; i < threads; ++i) kernel.Tell(i, kThreadCreated, 0);

  using Time = std::chrono::steady_clock;
  const unsigned passing = global ? 1 : cores;
  Time::duration spent{0};
  uint64_t passes = 0;
  // The first round creates the threads' records; it is not counted.
  for (int round = 0; kernel.commits < enough || round < 2; ++round) {
    if (round == 1) {
      spent = Time::duration(0);
      passes = 0;
      kernel.commits = kernel.messages = 0;
    }
    for (CoreId core = 0; core < cores; ++core) kernel.End(core);
    const auto now = Instant(std::chrono::microseconds(10) * (round + 1));
    const Time::time_point begin = Time::now();
    for (CoreId core = 0; core < passing; ++core) (*agents)->Pass(core, now);
    spent += Time::now() - begin;
    passes += passing;
  }
  const double ns = std::chrono::duration<double, std::nano>(spent).count();
  std::printf(
      "%.2f %.0f %.1f %llu %llu\n", ns / static_cast<double>(kernel.commits),
      static_cast<double>(kernel.commits) * 1e9 / ns,
      ns / static_cast<double>(passes), static_cast<unsigned long long>(passes),
      static_cast<unsigned long long>(kernel.messages));
  return 0;
}
