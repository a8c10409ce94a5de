// cpu_agents.cc - an agent for each core, which decides for that core.
//
// Each pass: take down the agent's own sequence number, read what happened, choose, and
// commit with both numbers: if a message has come meanwhile the transaction is refused,
// and the agent reads on and chooses again. An agent whose core has nothing takes a thread
// that waits elsewhere, and has its messages sent to its own queue from then on.
//
// New threads' messages come to the first core's queue; whoever picks a thread takes it
// over. No lost wake-up: who makes a thread wait reads the others' moods after a full
// fence, who idles sets its own before one and looks again (dispatch/placement.h).
//
// Source: Humphries et al., "ghOSt", SOSP 2021, section 3.2 and figure 3.

#include "native/cpu_agents.h"

#include <algorithm>
#include <atomic>

#include "native/roster.h"

namespace yamanote::native {
namespace {

class CpuAgents final : public Agents {
 public:
  CpuAgents(Kernel& kernel, const AgentOptions& options)
      : kernel_(kernel),
        options_(options),
        roster_(kernel, options, dispatch::Callers::kManyThreads),
        cores_(std::make_unique<Core[]>(kernel.cores())) {}

  ~CpuAgents() override { kernel_.Detach(); }

  Result<void> Start(Instant now) {
    for (CoreId core = 0; core < kernel_.cores(); ++core) {
      Result<QueueId> queue = kernel_.CreateQueue(options_.queue_capacity);
      if (!queue) return tl::unexpected(queue.error());
      cores_[core].queue = *queue;
      roster_.SetQueue(core, *queue);
      if (auto done = kernel_.AssociateCore(core, *queue); !done) return done;
      if (auto done = kernel_.ConfigureWake(*queue, core); !done) return done;
    }
    if (auto done = kernel_.AssociateCore(kNoCore, cores_[0].queue); !done)
      return done;
    roster_.Adopt(0, now);
    for (CoreId core = 0; core < kernel_.cores(); ++core)
      kernel_.WakeAgent(core);
    return {};
  }

  std::vector<CoreId> Where() const override {
    std::vector<CoreId> all(kernel_.cores());
    for (CoreId core = 0; core < kernel_.cores(); ++core) all[core] = core;
    return all;
  }

  Instant Pass(CoreId core, Instant now) override {
    SetMood(core, Mood::kBusy);
    bool retry = true;
    for (int i = 0; retry && i < kMostTries; ++i) {
      const uint32_t sequence = kernel_.AgentSequence(core);
      Drain(core, now);
      retry = false;
      if (!roster_.Available(core)) return kNever;  // Its message wakes us.
      if (roster_.Running(core) != nullptr && roster_.SliceEnd(core) > now)
        break;
      const Roster::Choice choice = roster_.Next(core, now);
      if (choice.retry) return now + kCommitRetry;
      if (choice.thread == nullptr) break;
      const CommitResult result = Commit(*choice.thread, core, sequence, now);
      if (result == kCommitted) break;
      // Only what was not read is worth another look at once.
      if (result != kCommitStaleAgent) return now + kCommitRetry;
      retry = true;
    }
    if (retry) return now + kCommitRetry;
    const Instant end = roster_.SliceEnd(core);
    if (roster_.Running(core) != nullptr && end > now) return end;
    SetMood(core,
            roster_.Running(core) != nullptr ? Mood::kOverdue : Mood::kIdle);
    // Pairs with Tell()'s.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    return roster_.HasWork(core) ? now + kCommitRetry : kNever;
  }

 private:
  static constexpr int kMostTries = 16;

  // What its agent would do with one more thread.
  enum class Mood : uint8_t { kBusy, kIdle, kOverdue };

  struct alignas(base::kNoSharing) Core {
    QueueId queue = 0;  // Constant.
    bool started = false;
    std::atomic<Mood> mood{Mood::kBusy};
  };

  void Drain(CoreId core, Instant now) {
    Core& self = cores_[core];
    Message message{};
    while (kernel_.Receive(self.queue, message)) {
      if (message.thread != 0) {
        const Roster::Effect effect = roster_.Apply(message, core, now);
        if (effect.fresh && roster_.asks_again()) roster_.AskAgain(core);
        if (effect.enqueued) Tell(core, effect.placed);
      } else if (message.core == core && (message.type == kCoreBusy ||
                                          message.type == kCoreAvailable)) {
        SetAvailable(core, message.type == kCoreAvailable, now);
      }
    }
    const bool first = !std::exchange(self.started, true);
    const bool lost = kernel_.Overflowed(self.queue);
    if (lost) {
      roster_.Resync(core, now);
      Tell(core, {.notify = dispatch::Notify::kEveryone, .core = kNoCore});
    }
    if (first || lost) SetAvailable(core, kernel_.Available(core), now);
  }

  void SetAvailable(CoreId core, bool available, Instant now) {
    Tell(core, roster_.SetAvailable(core, available, available, now));
  }

  CommitResult Commit(Thread& thread, CoreId core, uint32_t sequence,
                      Instant now) {
    Transaction transaction = roster_.Propose(thread, core);
    transaction.flags |= kCheckAgent;
    transaction.agent_sequence = sequence;
    kernel_.Commit({&transaction, 1});
    const auto result = static_cast<CommitResult>(transaction.result);
    roster_.Settle(thread, core, result, now);
    if (result == kCommitUnavailable) SetAvailable(core, false, now);
    return result;
  }

  // A thread waits. Makes one of those look that can take it.
  void Tell(CoreId from, dispatch::Placed placed) {
    if (placed.notify == dispatch::Notify::kNobody) return;
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (placed.notify == dispatch::Notify::kEveryone) {
      for (CoreId core = 0; core < kernel_.cores(); ++core)
        if (core != from && MoodOf(core) != Mood::kBusy)
          kernel_.WakeAgent(core);
      return;
    }
    const CoreId wanted = placed.core == kNoCore ? from : placed.core;
    if (wanted != from && (placed.notify == dispatch::Notify::kCore ||
                           MoodOf(wanted) != Mood::kBusy)) {
      kernel_.WakeAgent(wanted);
      return;
    }
    if (takers_.load(std::memory_order_relaxed) == 0) return;
    for (const Mood mood : {Mood::kIdle, Mood::kOverdue}) {
      for (CoreId i = 1; i < kernel_.cores(); ++i) {
        const CoreId core = (wanted + i) % kernel_.cores();
        if (core == from || MoodOf(core) != mood) continue;
        kernel_.WakeAgent(core);
        return;
      }
    }
  }

  // By `core`'s agent.
  void SetMood(CoreId core, Mood mood) {
    const Mood before =
        cores_[core].mood.exchange(mood, std::memory_order_relaxed);
    const int change =
        (mood != Mood::kBusy ? 1 : 0) - (before != Mood::kBusy ? 1 : 0);
    if (change != 0) takers_.fetch_add(change, std::memory_order_relaxed);
  }

  Mood MoodOf(CoreId core) const {
    return cores_[core].mood.load(std::memory_order_relaxed);
  }

  Kernel& kernel_;
  const AgentOptions options_;
  Roster roster_;
  const std::unique_ptr<Core[]> cores_;
  // Agents that are not busy: whoever has something for them need not ask each.
  alignas(base::kNoSharing) std::atomic<int> takers_{0};
};

}  // namespace

Result<std::unique_ptr<Agents>> MakeCpuAgents(Kernel& kernel,
                                              const AgentOptions& options,
                                              Instant now) {
  auto agents = std::make_unique<CpuAgents>(kernel, options);
  if (auto started = agents->Start(now); !started)
    return tl::unexpected(started.error());
  return agents;
}

}  // namespace yamanote::native
