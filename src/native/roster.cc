// roster.cc - from messages to the placement, and from there to transactions.

#include "native/roster.h"

#include <algorithm>

#include "base/check.h"

namespace yamanote::native {

using dispatch::Callers;
using dispatch::Notify;
using dispatch::Placed;
using dispatch::Supply;

namespace {

const PolicyInfo& OrderOf(const AgentOptions& options) {
  const PolicyInfo* order = options.order;
  if (order == nullptr) order = FindPolicy(options.scheduling.order);
  YAMANOTE_CHECK(order != nullptr, "a roster's order is a known one");
  return *order;
}

// A central queue belongs to no core. Where each core has one, work must be able to leave
// a core that a higher class takes.
Supply SupplyOf(const Scheduling& scheduling) {
  return scheduling.placement == PlacementKind::kCentral ? Supply::kOwn
                                                         : Supply::kArbiter;
}

}  // namespace

Roster::Roster(Kernel& kernel, const AgentOptions& options, Callers callers)
    : kernel_(kernel),
      count_(kernel.cores()),
      shared_(callers == Callers::kManyThreads),
      hints_(options.hints),
      order_(OrderOf(options)),
      clock_use_(order_.clock),
      placement_(dispatch::MakePlacement(order_, options.scheduling, count_,
                                         callers, SupplyOf(options.scheduling),
                                         options.locality)),
      per_core_(options.scheduling.placement != PlacementKind::kCentral),
      has_slices_(placement_->Quantum(0) != kNoPreemption),
      observes_stops_(placement_->ObservesStops()),
      asks_again_(has_slices_ &&
                  std::ranges::any_of(options.scheduling.classes,
                                      &ClassOptions::background)),
      cores_(std::make_unique<Core[]>(count_)),
      threads_(std::make_unique<std::atomic<Thread*>[]>(kernel.max_threads())),
      max_threads_(kernel.max_threads()) {
  for (CoreId core = 0; core < count_; ++core)
    placement_->SetHeld(core, true, Instant());
}

Roster::~Roster() {
  for (Thread* const ghost : ghosts_) delete ghost;
  for (uint32_t i = 0; i < max_threads_; ++i)
    delete threads_[i].load(std::memory_order_acquire);
}

// ---- Records ----------------------------------------------------------------

Roster::Guard Roster::LockHome(const Thread& thread) {
  for (;;) {
    const CoreId home = thread.home.load(std::memory_order_relaxed);
    Guard guard = Lock(home);
    if (thread.home.load(std::memory_order_relaxed) == home) return guard;
  }
}

// The one that has this number, not another with its index.
Thread* Roster::Find(ThreadId id) const {
  const uint32_t index = IndexOf(id);
  if (index >= max_threads_) return nullptr;
  // Pairs with Create(): release.
  Thread* const thread = threads_[index].load(std::memory_order_acquire);
  return thread != nullptr && thread->thread == id ? thread : nullptr;
}

Thread& Roster::Create(const StatusWord& status, CoreId agent, Instant now) {
  std::atomic<Thread*>& slot = threads_[IndexOf(status.thread)];
  // Its index was used before, and what is left of that still waits to be dropped.
  if (Thread* const before = slot.load(std::memory_order_acquire);
      before != nullptr) {
    const Guard guard = LockHome(*before);
    Left(*before, Stop::kFinished, now);
    before->gone = true;
    Forget(*before);
  }
  if (hints_ != nullptr) {
    StatusWord word{};
    if (kernel_.Read(status.thread, word))
      hints_->Inherit(status.tid, word.parent);
  }
  auto* const thread = new Thread;
  thread->id = next_id_.fetch_add(1, std::memory_order_relaxed);
  thread->arrival = now;
  thread->thread = status.thread;
  thread->tid = status.tid;
  thread->sequence = status.sequence;
  thread->next_weight = status.weight;
  if (trust_) thread->domain = trust_(status.tid);
  thread->home.store(agent, std::memory_order_relaxed);
  slot.store(thread, std::memory_order_release);
  return *thread;
}

// `thread` is gone. One that waits is deleted when it is picked.
void Roster::Forget(Thread& thread) {
  std::atomic<Thread*>& slot = threads_[IndexOf(thread.thread)];
  if (slot.load(std::memory_order_relaxed) == &thread)
    slot.store(nullptr, std::memory_order_release);
  if (hints_ != nullptr) hints_->Forget(thread.tid);
  if (!thread.waiting) {
    delete &thread;
    return;
  }
  const std::lock_guard guard(ghosts_lock_);
  ghosts_.insert(&thread);
}

// ---- Messages ---------------------------------------------------------------

Roster::Effect Roster::Apply(const Message& message, CoreId agent,
                             Instant now) {
  const Guard guard = Lock(agent);
  Thread* thread = Find(message.thread);
  if (thread == nullptr) {
    if (message.type != kThreadCreated ||
        IndexOf(message.thread) >= max_threads_)
      return {};  // Of one that is known to be gone.
    thread = &Create({.thread = message.thread,
                      .sequence = message.sequence,
                      .flags = message.flags,
                      .core = message.core,
                      .tid = message.tid,
                      .ran_ns = message.ran_ns,
                      .weight = message.weight,
                      .unused = 0,
                      .parent = 0},
                     agent, now);
    thread->runnable = (message.flags & kStatusRunnable) != 0;
    return thread->runnable ? Enqueue(*thread, Wake::kArrival, kNoCore, now)
                            : Effect{};
  }
  // The status word said so already.
  if (!IsAfter(message.sequence, thread->sequence)) return {};
  thread->sequence = message.sequence;

  Effect effect;
  switch (message.type) {
    case kThreadWakeup: {
      // It has blocked, if it ran; that message was lost.
      const CoreId freed = Left(*thread, Stop::kBlocked, now);
      thread->runnable = true;
      effect = Enqueue(*thread, Wake::kWakeup, kNoCore, now);
      effect.freed = freed;
      break;
    }
    case kThreadBlocked:
      thread->runnable = false;
      effect.freed = Left(*thread, Stop::kBlocked, now);
      break;
    case kThreadPreempted:
    case kThreadYield: {
      const bool yields = message.type == kThreadYield;
      const CoreId on = thread->on;
      const CoreId freed =
          Left(*thread, yields ? Stop::kYielded : Stop::kPreempted, now);
      thread->runnable = true;
      effect =
          Enqueue(*thread, yields ? Wake::kYield : Wake::kPreempted, on, now);
      effect.freed = freed;
      break;
    }
    case kThreadPriority:
      thread->next_weight = message.weight;
      break;
    case kThreadDeparted:
    case kThreadDead:
      thread->runnable = false;
      effect.freed = Left(*thread, Stop::kFinished, now);
      thread->gone = true;
      Forget(*thread);
      break;
    default:  // Affinity is asked for when it is needed.
      break;
  }
  return effect;
}

Roster::Effect Roster::Enqueue(Thread& thread, Wake why, CoreId from,
                               Instant now) {
  if (thread.waiting) return {};
  SetWaiting(thread, true);
  const bool fresh = why == Wake::kArrival || why == Wake::kWakeup;
  if (fresh) {
    Heed(thread, now);
  } else if (ClassChanged(thread, now)) {
    Uncount(thread, Stop::kBlocked);
    Heed(thread, now);
  }
  // Nobody knows it, so to whoever gets it it is one that was woken.
  if (per_core_ && thread.picked_by != from && why != Wake::kArrival)
    Uncount(thread, Stop::kBlocked);
  if (!thread.counted && why != Wake::kArrival) why = Wake::kWakeup;
  thread.counted = true;
  // A single core's queue is its agent's: the order knows of it at once.
  if (!per_core_ && count_ == 1) from = 0;
  return {.placed = placement_->Enqueue(thread, why, 0, from, PolicyNow(now)),
          .freed = kNoCore,
          .enqueued = true,
          .fresh = why == Wake::kArrival || why == Wake::kWakeup};
}

// `thread` begins something new: what it has said of that holds. Whoever has only given way
// is still counted with the class and the weight that it had.
void Roster::Heed(Thread& thread, Instant now) {
  thread.arrival = now;
  thread.weight = thread.next_weight;
  thread.request_class = 0;
  thread.deadline = kNever;
  if (hints_ == nullptr) return;
  const std::optional<Hint> hint = hints_->Read(thread.tid, now);
  if (!hint) return;
  thread.request_class = hint->request_class;
  thread.deadline = hint->deadline;
  if (hint->weight != 0) thread.weight = hint->weight;
}

// Whether it has said that it is of another kind now, and so begins anew.
bool Roster::ClassChanged(const Thread& thread, Instant now) const {
  if (hints_ == nullptr) return false;
  const std::optional<Hint> hint = hints_->Read(thread.tid, now);
  return hint && (hint->request_class != thread.request_class ||
                  (hint->weight != 0 && hint->weight != thread.weight));
}

// `thread` left the core it was on. Returns that core if nothing runs there now.
CoreId Roster::Left(Thread& thread, Stop why, Instant now) {
  SetThere(thread, kNoCore);
  const CoreId core = thread.on;
  if (core == kNoCore) return kNoCore;
  // Whoever was put back has stopped already.
  if (!thread.leaving) Stopped(thread, core, why, now);
  thread.on = kNoCore;
  thread.leaving = false;
  if (cores_[core].running != &thread) return kNoCore;  // Its successor does.
  cores_[core].running = nullptr;
  cores_[core].slice_end = kNever;
  placement_->Leave(core);
  return core;
}

void Roster::Stopped(Thread& thread, CoreId core, Stop why, Instant now) {
  const bool times = clock_use_ == ClockUse::kRunTime;
  const Duration ran = times ? now - thread.since : Duration::zero();
  thread.attained += ran;
  if (!thread.counted) return;
  if (why == Stop::kBlocked || why == Stop::kFinished) thread.counted = false;
  if (observes_stops_)
    placement_->OnStop(thread, per_core_ ? thread.picked_by : core, why, ran);
}

// It has not run; whoever picked it counts it no more.
void Roster::Uncount(Thread& thread, Stop why) {
  if (!std::exchange(thread.counted, false) || !observes_stops_) return;
  placement_->OnStop(thread, thread.picked_by, why, Duration::zero());
}

// It was picked, and goes to wherever it may be picked again.
void Roster::Return(Thread& thread, Instant now) {
  Uncount(thread, Stop::kBlocked);
  thread.counted = true;
  placement_->Enqueue(thread, Wake::kWakeup, 0, kNoCore, PolicyNow(now));
}

void Roster::Adopt(CoreId agent, Instant now) {
  std::vector<ThreadId> threads;
  kernel_.ForEachThread([&](const StatusWord& status) {
    if (IndexOf(status.thread) < max_threads_) threads.push_back(status.thread);
  });
  for (const ThreadId thread : threads) {
    StatusWord status{};
    // What happens after it is associated comes as a message; before, the word says.
    Association association = Association::kStale;
    CoreId home = agent;
    while (association == Association::kStale && kernel_.Read(thread, status)) {
      const bool on_core = (status.flags & kStatusOnCore) != 0;
      home = shared_ && on_core && status.core < count_ ? status.core : agent;
      association =
          kernel_.Associate(thread, cores_[home].queue, status.sequence);
    }
    if (association == Association::kDone) Reconcile(status, home, now);
  }
}

void Roster::Resync(CoreId agent, Instant now) {
  std::vector<bool> there(max_threads_);
  kernel_.ForEachThread([&](const StatusWord& status) {
    const uint32_t index = IndexOf(status.thread);
    if (index >= max_threads_) return;
    there[index] = true;
    const Thread* const thread = Find(status.thread);
    // New ones come to the first agent.
    const CoreId home =
        thread == nullptr ? 0 : thread->home.load(std::memory_order_relaxed);
    if (!shared_ || home == agent) Reconcile(status, agent, now);
  });
  for (uint32_t i = 0; i < max_threads_; ++i) {
    Thread* const thread = threads_[i].load(std::memory_order_acquire);
    if (thread == nullptr || there[i]) continue;
    if (shared_ && thread->home.load(std::memory_order_relaxed) != agent)
      continue;
    const Guard guard = LockHome(*thread);
    Left(*thread, Stop::kFinished, now);
    thread->gone = true;
    Forget(*thread);
  }
}

void Roster::Reconcile(const StatusWord& status, CoreId agent, Instant now) {
  Thread* thread = Find(status.thread);
  if (thread == nullptr) thread = &Create(status, agent, now);
  // Of the last number, too: what was read may have come after what was lost.
  const Guard guard = LockHome(*thread);
  thread->sequence = status.sequence;
  thread->next_weight = status.weight;
  const bool on_core =
      (status.flags & kStatusOnCore) != 0 && status.core < count_;
  const bool was_runnable = thread->runnable;
  thread->runnable = (status.flags & kStatusRunnable) != 0;
  if (thread->on != kNoCore && (!on_core || thread->on != status.core))
    Left(*thread, thread->runnable ? Stop::kPreempted : Stop::kBlocked, now);
  SetThere(*thread, on_core ? status.core : kNoCore);
  if (siblings_ != nullptr && on_core)
    siblings_->SetTurnEnd(status.core, has_slices_ ? now : now + kDomainTurn);
  if (thread->runnable && thread->on == kNoCore) {
    Enqueue(*thread, was_runnable ? Wake::kPreempted : Wake::kWakeup, kNoCore,
            now);
  }
  // It runs, and no policy sent it there. As if its slice were over.
  if (on_core && thread->on == kNoCore && (!shared_ || status.core == agent) &&
      cores_[status.core].running == nullptr) {
    thread->on = status.core;
    thread->leaving = true;
    cores_[status.core].running = thread;
    cores_[status.core].slice_end = now;
  }
}

// ---- Decisions --------------------------------------------------------------

Task* Roster::Pick(CoreId core, Instant now) {
  Task* task = placement_->PickNext(core, PolicyNow(now));
  // What was left where it is at the first look is had at the second.
  for (int i = 0; task == nullptr && i < 2; ++i)
    task = placement_->FindWork(core, PolicyNow(now));
  return task;
}

bool Roster::HasWork(CoreId core) {
  return HasAsides(core) || !deferred_.empty() || placement_->HasWork(core);
}

Roster::Choice Roster::Next(CoreId core, Instant now) {
  Core& self = cores_[core];
  if (!HasWork(core)) return {};
  if (siblings_ != nullptr && siblings_->Vacating(core)) return {};
  // What runs there now, if anything, gives way without a word: its message puts it back.
  if (Thread* const thread = TakeFirst(core)) return Proposed(*thread, core);
  if (!CanPick()) return {};

  Task* task = nullptr;
  if (Thread* const current = self.running;
      current != nullptr && !current->leaving) {
    Guard guard = Lock(core);
    Stopped(*current, core, Stop::kPreempted, now);
    current->leaving = true;
    SetWaiting(*current, true);
    guard.Release();
    const bool changed = ClassChanged(*current, now);
    if (changed) {
      Uncount(*current, Stop::kBlocked);
      Heed(*current, now);
    }
    if (current->counted && (!per_core_ || current->picked_by == core)) {
      task = placement_->Exchange(*current, Wake::kPreempted, core,
                                  PolicyNow(now));
    } else {
      Return(*current, now);
      task = Pick(core, now);
    }
  } else {
    task = Pick(core, now);
  }
  for (; task != nullptr; task = CanPick() ? Pick(core, now) : nullptr) {
    auto& thread = static_cast<Thread&>(*task);
    switch (Take(thread, core, now)) {
      case Taken::kYes:
        if (Admits(core, thread)) return Proposed(thread, core);
        Defer(thread);
        // The order has chosen: its turn, if it is to have one, comes first.
        if (siblings_->TurnOver(core, now)) return {.retry = true};
        break;
      case Taken::kResumed:
        return {};
      case Taken::kRetry:
        return {.retry = true};
      case Taken::kNo:
        break;
    }
  }
  return {};
}

Roster::Choice Roster::Proposed(Thread& thread, CoreId core) {
  cores_[core].proposed = true;
  SetThere(thread, core);
  return {.thread = &thread};
}

// `thread` is, or is about to be, on `core`; kNoCore: on none.
void Roster::SetThere(Thread& thread, CoreId core) {
  if (siblings_ == nullptr || thread.there == core) return;
  if (thread.there != kNoCore) siblings_->Leave(thread.there);
  thread.there = core;
  if (core != kNoCore) siblings_->Enter(core, thread.domain);
}

// The policy has returned `thread` for `core`.
Roster::Taken Roster::Take(Thread& thread, CoreId core, Instant now) {
  Guard guard = LockHome(thread);
  thread.picked_by = core;
  if (thread.gone || (!thread.runnable && thread.on == kNoCore)) {
    Drop(thread);
    return Taken::kNo;
  }
  if (thread.on != kNoCore) {
    const CoreId on = thread.on;
    if (on == core || !shared_) {
      if (cores_[on].running == &thread && !cores_[on].proposed) {
        // It was put back, and nobody took its place.
        thread.leaving = false;
        SetWaiting(thread, false);
        Begin(thread, on, now);
        return on == core ? Taken::kResumed : Taken::kNo;
      }
      // It is about to leave, or its message is on the way.
      if (per_core_) Uncount(thread, Stop::kBlocked);
      guard.Release();
      SetAside(thread, core);
      return Taken::kNo;
    }
    // Its own core's agent will see to it.
    Return(thread, now);
    return Taken::kRetry;
  }
  if (thread.there != kNoCore) {  // It was found beside another one.
    guard.Release();
    SetAside(thread, core);
    return Taken::kNo;
  }
  if (!kernel_.MayRun(thread.thread, core)) {
    const CoreId elsewhere = WhereItMayRun(thread, core);
    if (per_core_) Uncount(thread, Stop::kBlocked);
    guard.Release();
    SetAside(thread, elsewhere);
    return Taken::kNo;
  }
  const Taken taken = TakeOver(thread, core);
  if (taken != Taken::kYes) {
    Return(thread, now);
    return taken;
  }
  SetWaiting(thread, false);
  return Taken::kYes;
}

// Makes `core` the home of `thread`. Requires: its home's lock.
Roster::Taken Roster::TakeOver(Thread& thread, CoreId core) {
  const CoreId home = thread.home.load(std::memory_order_relaxed);
  if (!shared_ || home == core) return Taken::kYes;
  if (kernel_.Associate(thread.thread, cores_[core].queue, thread.sequence) !=
      Association::kDone) {
    kernel_.WakeAgent(home);  // It has something to read.
    return Taken::kRetry;
  }
  thread.home.store(core, std::memory_order_relaxed);
  return Taken::kYes;
}

CoreId Roster::WhereItMayRun(const Thread& thread, CoreId core) const {
  CoreId found = core;
  for (CoreId other = 0; other < count_; ++other) {
    if (!kernel_.MayRun(thread.thread, other)) continue;
    found = other;
    // What another agent's core runs is that agent's business.
    if (Available(other) && (shared_ || cores_[other].running == nullptr))
      break;
  }
  return found;
}

void Roster::Drop(Thread& thread) {
  Uncount(thread, thread.gone ? Stop::kFinished : Stop::kBlocked);
  SetWaiting(thread, false);
  if (!thread.gone) return;
  {
    const std::lock_guard guard(ghosts_lock_);
    ghosts_.erase(&thread);
  }
  delete &thread;
}

void Roster::Begin(Thread& thread, CoreId core, Instant now) {
  Core& self = cores_[core];
  thread.on = core;
  thread.since = now;
  thread.last_core = core;
  self.running = &thread;
  const Duration slice = !has_slices_     ? kNoPreemption
                         : thread.counted ? placement_->Slice(thread, core)
                                          : Quantum();  // No order knows it.
  self.slice_end = slice == kNoPreemption ? kNever : now + slice;
}

void Roster::AskAgain(CoreId core) {
  Core& self = cores_[core];
  if (self.running == nullptr || !self.running->counted) return;
  const Duration slice = placement_->Slice(*self.running, core);
  if (slice == kNoPreemption) return;
  self.slice_end = std::min(self.slice_end, self.running->since + slice);
}

bool Roster::Settle(Thread& thread, CoreId core, CommitResult result,
                    Instant now) {
  cores_[core].proposed = false;
  if (result != kCommitted) SetThere(thread, kNoCore);
  switch (result) {
    case kCommitted:
      Begin(thread, core, now);
      if (siblings_ != nullptr) {
        const Instant end = SliceEnd(core);
        siblings_->SetTurnEnd(core, end != kNever ? end : now + kDomainTurn);
      }
      return true;
    case kCommitNotFound: {
      const Guard guard = Lock(core);
      thread.gone = true;
      SetWaiting(thread, true);
      Forget(thread);
      Drop(thread);
      return false;
    }
    default: {
      {
        const Guard guard = Lock(core);
        if (per_core_) Uncount(thread, Stop::kBlocked);
        SetWaiting(thread, true);
      }
      SetAside(thread, core);
      return false;
    }
  }
}

Placed Roster::SetAvailable(CoreId core, bool available, bool usable,
                            Instant now) {
  cores_[core].available.store(available, std::memory_order_relaxed);
  cores_[core].usable = usable;
  return placement_->SetHeld(core, usable, PolicyNow(now));
}

}  // namespace yamanote::native
