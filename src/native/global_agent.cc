// global_agent.cc - one agent decides for all cores.
//
// Each pass: read what happened, give the free cores something to run, then let those
// whose slices are over give way to what still waits, as many as wait; and commit it all
// at once. A thread's sequence number in its transaction makes sure that nothing has
// happened to it that was not read.
//
// With a core of its own it polls there. When somebody outside the enclave wants that
// core it goes on from another: the nearest idle one, else the nearest.
//
// Source: Humphries et al., "ghOSt", SOSP 2021, section 3.3 and figure 4.

#include "native/global_agent.h"

#include <algorithm>
#include <optional>

#include "native/roster.h"

namespace yamanote::native {
namespace {

class GlobalAgent final : public Agents {
 public:
  GlobalAgent(Kernel& kernel, const AgentOptions& options)
      : kernel_(kernel),
        options_(options),
        roster_(kernel, options, dispatch::Callers::kOneThread),
        free_(kernel.cores()),
        overdue_(kernel.cores()),
        idle_since_(kernel.cores(), kNever) {
    choices_.reserve(kernel.cores());
    group_.reserve(kernel.cores());
    if (!options.core_scheduling) return;
    siblings_.emplace(options.siblings);
    roster_.KeepApart(*siblings_, options.trust);
  }

  ~GlobalAgent() override { kernel_.Detach(); }

  Result<void> Start(Instant now) {
    Result<QueueId> queue = kernel_.CreateQueue(options_.queue_capacity);
    if (!queue) return tl::unexpected(queue.error());
    queue_ = *queue;
    for (CoreId core = 0; core < kernel_.cores(); ++core) {
      if (auto done = kernel_.AssociateCore(core, queue_); !done) return done;
      roster_.SetQueue(core, queue_);
    }
    if (auto done = kernel_.AssociateCore(kNoCore, queue_); !done) return done;
    roster_.Adopt(home_, now);
    Reset(now);
    if (auto done = kernel_.ConfigureWake(queue_, home_); !done) return done;
    kernel_.WakeAgent(home_);
    return {};
  }

  std::vector<CoreId> Where() const override { return {home_}; }

  Duration ForcedIdle() const override { return forced_idle_; }

  Instant Pass(CoreId /*core*/, Instant now) override {
    const bool all_read = Drain(now);
    if (all_read && kernel_.Overflowed(queue_)) {
      roster_.Resync(home_, now);
      Reset(now);
    }
    StandAside(now);

    bool retry = !all_read;
    choices_.clear();
    group_.clear();
    if (siblings_) {
      siblings_->EndMixtures([this](CoreId core) { Vacate(core); });
      EndTurns(now);
    }
    Fill(now, retry);
    if (siblings_) retry |= siblings_->EndReservations();
    GiveWay(now, retry);
    const Instant turn_ends = siblings_ ? EndTurns(now) : kNever;
    if (!group_.empty()) {
      kernel_.Commit(group_);
      // Who is to leave a core leaves it with a message.
      for (std::size_t i = 0; i < group_.size(); ++i)
        if (choices_[i] != nullptr)
          retry |= !Settle(*choices_[i], group_[i], now);
    }
    if (siblings_) CountForcedIdle(now);
    Instant next =
        retry ? std::min(first_end_, now + kCommitRetry) : first_end_;
    if (options_.own_core && roster_.HasAsides(home_))
      next = std::min(next, moved_ + kPinnedTurn);
    return std::min(next, turn_ends);
  }

 private:
  // How long a core is left to threads that may run nowhere else.
  static constexpr Duration kPinnedTurn = std::chrono::milliseconds(1);
  // More wait for the next pass.
  static constexpr int kMostMessages = 65536;

  bool Usable(CoreId core) const {
    return roster_.Available(core) && !(options_.own_core && core == home_);
  }

  bool Drain(Instant now) {
    Message message{};
    for (int i = 0; i < kMostMessages; ++i) {
      if (!kernel_.Receive(queue_, message)) return true;
      if (message.thread != 0) {
        const Roster::Effect effect = roster_.Apply(message, home_, now);
        if (effect.freed != kNoCore) Freed(effect.freed);
        if (effect.fresh) ++fresh_;
      } else if (message.core < kernel_.cores() &&
                 (message.type == kCoreBusy ||
                  message.type == kCoreAvailable)) {
        SetAvailable(message.core, message.type == kCoreAvailable, now);
      }
    }
    return false;
  }

  void Freed(CoreId core) {
    overdue_.Remove(core);
    free_.Set(core, Usable(core));
  }

  void SetAvailable(CoreId core, bool available, Instant now) {
    const bool usable = available && !(options_.own_core && core == home_);
    roster_.SetAvailable(core, available, usable, now);
    free_.Set(core, usable && roster_.Running(core) == nullptr);
  }

  // What runs where may be anything.
  void Reset(Instant now) {
    first_end_ = now;
    for (CoreId core = 0; core < kernel_.cores(); ++core) {
      overdue_.Remove(core);
      SetAvailable(core, kernel_.Available(core), now);
    }
  }

  // True if somebody else is to have the agent's core: a higher class, or a thread that
  // may run nowhere else.
  bool IsWanted(Instant now) const {
    if (!roster_.Available(home_)) return true;
    return options_.own_core && roster_.HasAsides(home_) &&
           now >= moved_ + kPinnedTurn;
  }

  void StandAside(Instant now) {
    if (!IsWanted(now)) return;
    base::CoreSet others(kernel_.cores());
    for (CoreId core = 0; core < kernel_.cores(); ++core)
      if (core != home_ && roster_.Available(core)) others.Add(core);
    if (others.size() == 0) return;  // Nowhere is better.
    const CoreId to = Nearest(free_.size() > 0 ? free_ : others);
    const CoreId from = home_;
    if (auto done = kernel_.ConfigureWake(queue_, to); !done) return;
    kernel_.MoveAgent(from, to);
    home_ = to;
    moved_ = now;
    SetAvailable(from, roster_.Available(from), now);
    SetAvailable(to, true, now);
  }

  CoreId Nearest(const base::CoreSet& among) const {
    return options_.nearest ? options_.nearest(home_, among)
                            : among.NextFrom(0);
  }

  void Fill(Instant now, bool& retry) {
    for (CoreId core = free_.NextFrom(0);
         core != kNoCore && roster_.Waiting() > 0;
         core = free_.NextFrom(core + 1)) {
      Choose(core, now, retry);
    }
  }

  void GiveWay(Instant now, bool& retry) {
    if (fresh_ > 0 && roster_.asks_again()) {
      for (CoreId core = 0; core < kernel_.cores(); ++core)
        roster_.AskAgain(core);
      first_end_ = now;
    }
    if (first_end_ <= now) {
      first_end_ = kNever;
      for (CoreId core = 0; core < kernel_.cores(); ++core) {
        if (roster_.SliceEnd(core) <= now) {
          overdue_.Add(core);
        } else {
          NoteSlice(core, now);
        }
      }
    }
    // Whoever comes has a right to a core at once, if it is only for a slice. Who gave
    // way has had its own, and waits for one slice of the others'.
    int64_t rights = std::min<int64_t>(roster_.Waiting(), fresh_);
    fresh_ = 0;
    if (now >= turn_) rights = roster_.Waiting();
    bool gave_way = false;
    for (CoreId core = overdue_.NextFrom(0); core != kNoCore && rights > 0;
         core = overdue_.NextFrom(core + 1)) {
      if (roster_.SliceEnd(core) <= now && Choose(core, now, retry)) {
        --rights;
        gave_way = true;
      }
      NoteSlice(core, now);
    }
    // Without slices only those give way whom it found running.
    if (gave_way && roster_.Quantum() != kNoPreemption)
      turn_ = now + roster_.Quantum();
    if (overdue_.size() > 0 && roster_.Waiting() > 0)
      first_end_ = std::min(first_end_, std::max(turn_, now + kCommitRetry));
  }

  bool Choose(CoreId core, Instant now, bool& retry) {
    const Roster::Choice choice = roster_.Next(core, now);
    retry |= choice.retry;
    if (choice.thread == nullptr) return false;
    choices_.push_back(choice.thread);
    Transaction transaction = roster_.Propose(*choice.thread, core);
    transaction.agent = home_;
    group_.push_back(transaction);
    return true;
  }

  // Ends the turns that are over for those who wait. Returns when the next one is.
  Instant EndTurns(Instant now) {
    waiting_.clear();
    for (const Thread* const thread : roster_.Deferred()) {
      if (thread->gone || !thread->runnable) continue;
      waiting_.push_back(
          {.domain = thread->domain, .may_run = [this, thread](CoreId core) {
             return roster_.MayRunNow(*thread, core);
           }});
    }
    return siblings_->EndTurns(waiting_, now,
                               [this](CoreId core) { Vacate(core); });
  }

  void Vacate(CoreId core) {
    choices_.push_back(nullptr);
    group_.push_back({.thread = 0,
                      .core = core,
                      .flags = 0,
                      .thread_sequence = 0,
                      .agent_sequence = 0,
                      .agent = home_,
                      .result = kCommitNone});
  }

  // Whatever idles now has done so since the pass that left it idle.
  void CountForcedIdle(Instant now) {
    for (CoreId core = 0; core < kernel_.cores(); ++core) {
      Instant& since = idle_since_[core];
      if (since != kNever) forced_idle_ += now - since;
      since = free_.Contains(core) && roster_.Waiting() > 0 ? now : kNever;
    }
  }

  bool Settle(Thread& thread, const Transaction& transaction, Instant now) {
    const CoreId core = transaction.core;
    const auto result = static_cast<CommitResult>(transaction.result);
    const bool runs = roster_.Settle(thread, core, result, now);
    if (result == kCommitUnavailable) SetAvailable(core, false, now);
    if (runs) {
      free_.Remove(core);
      NoteSlice(core, now);
    }
    return runs;
  }

  // Whoever is not overdue any more is looked at when its slice is over.
  void NoteSlice(CoreId core, Instant now) {
    const Instant end = roster_.SliceEnd(core);
    if (end <= now) return;
    overdue_.Remove(core);
    first_end_ = std::min(first_end_, end);
  }

  Kernel& kernel_;
  const AgentOptions options_;
  std::optional<Siblings> siblings_;  // Only with core scheduling.
  Roster roster_;
  QueueId queue_ = 0;
  CoreId home_ = 0;
  base::CoreSet free_;          // The enclave's, with nothing to run.
  base::CoreSet overdue_;       // What runs there has had its slice.
  Instant first_end_ = kNever;  // Of the others' slices, or before it.
  Instant
      turn_{};  // When those that wait may have the cores of those that are overdue.
  int64_t fresh_ = 0;  // Came since the last pass.
  Instant moved_{};    // When the agent last did.
  std::vector<Siblings::Waiting> waiting_;
  std::vector<Instant> idle_since_;  // kNever: it is not forced to.
  Duration forced_idle_{};
  std::vector<Thread*> choices_;  // nullptr: the core is vacated.
  std::vector<Transaction> group_;
};

}  // namespace

Result<std::unique_ptr<Agents>> MakeGlobalAgent(Kernel& kernel,
                                                const AgentOptions& options,
                                                Instant now) {
  auto agent = std::make_unique<GlobalAgent>(kernel, options);
  if (auto started = agent->Start(now); !started)
    return tl::unexpected(started.error());
  return agent;
}

}  // namespace yamanote::native
