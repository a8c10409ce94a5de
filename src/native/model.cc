// model.cc - what happens to the model's threads and cores.

#include "native/model.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "native/model_crash.h"

namespace yamanote::native {

namespace {

constexpr Duration kTurn = std::chrono::milliseconds(3);
constexpr int kMostActions = 10000;  // Of one thread at one instant.

}  // namespace

ModelKernel::ModelKernel(const Options& options)
    : options_(options),
      random_(options.seed),
      threads_(options.max_threads),
      cores_(options.cores) {
  YAMANOTE_CHECK(options.cores >= 1 && options.max_threads >= 1,
                 "a model has cores and threads");
  YAMANOTE_CHECK(
      options.siblings.empty() || options.siblings.size() == options.cores,
      "a model knows the siblings of each core");
  for (uint32_t i = options.max_threads; i > 0; --i) free_.push_back(i - 1);
  if (options_.watchdog != kNoPreemption)
    At(now_ + options_.watchdog / 4, What::kWatchdog, 0);
  if (options_.tick != kNoPreemption) At(now_ + options_.tick, What::kTick, 0);
}

// ---- Time -------------------------------------------------------------------

void ModelKernel::At(Instant at, What what, uint32_t index, uint64_t version) {
  events_.push({.at = at,
                .order = next_order_++,
                .what = what,
                .index = index,
                .version = version});
}

Duration ModelKernel::Jittered(Duration time) {
  if (options_.jitter == 0) return time;
  return time + time *
                    static_cast<int64_t>(
                        random_.Below(uint64_t{options_.jitter} + 1)) /
                    1000;
}

void ModelKernel::RunUntil(Instant end) {
  while (!events_.empty() && events_.top().at <= end) {
    const Event event = events_.top();
    events_.pop();
    now_ = event.at;
    Step(event);
  }
  now_ = std::max(now_, end);
}

bool ModelKernel::RunUntilAllEnd(Instant end) {
  while (alive_ > 0 && !events_.empty() && events_.top().at <= end) {
    const Event event = events_.top();
    events_.pop();
    now_ = event.at;
    Step(event);
  }
  return alive_ == 0;
}

// Time of an agent's pass, in which threads go on.
void ModelKernel::Elapse(Duration time) {
  const Instant end = now_ + Jittered(time);
  while (!events_.empty() && events_.top().at <= end) {
    const Event event = events_.top();
    events_.pop();
    // Agents pass one after another. A core switches when its agent is done.
    if (event.what == What::kPass ||
        (event.what == What::kSwitch && event.index == passing_)) {
      deferred_.push_back(event);
      continue;
    }
    now_ = event.at;
    Step(event);
  }
  now_ = end;
}

void ModelKernel::Step(const Event& event) {
  Do(event);
  CheckTrust();
}

void ModelKernel::Do(const Event& event) {
  switch (event.what) {
    case What::kRunEnds: {
      ModelCore& core = cores_[event.index];
      if (core.running == kNobody || core.version != event.version) return;
      Account(event.index);
      RunScript(core.running);
      return;
    }
    case What::kSwitch:
      if (cores_[event.index].latch == event.version) Switch(event.index);
      return;
    case What::kWake: {
      ModelThread& thread = threads_[event.index];
      if (thread.state == State::kBlocked && thread.wake == event.version)
        BecomeRunnable(event.index, kThreadWakeup);
      return;
    }
    case What::kBusy:
      if (cores_[event.index].busy) return;
      Unlatch(event.index);
      Preempt(event.index);
      cores_[event.index].busy = true;
      PostCore(event.index, kCoreBusy);
      return;
    case What::kIdle:
      if (!cores_[event.index].busy) return;
      cores_[event.index].busy = false;
      PostCore(event.index, kCoreAvailable);
      FallBack(event.index);
      return;
    case What::kPass:
      if (cores_[event.index].next_pass != event.at) return;
      cores_[event.index].next_pass = kNever;
      Pass(event.index);
      return;
    case What::kWatchdog:
      for (uint32_t i = 0; i < options_.max_threads && !destroyed_; ++i) {
        const ModelThread& thread = threads_[i];
        if (thread.state != State::kRunnable || !thread.in_enclave) continue;
        if (now_ - thread.runnable_since <= options_.watchdog) continue;
        Destroy(fmt::format("thread {} could run, and waited for {} us", i,
                            ToNanos(now_ - thread.runnable_since) / 1000));
      }
      if (!destroyed_) At(now_ + options_.watchdog / 4, What::kWatchdog, 0);
      return;
    case What::kTick:
      for (CoreId core = 0; core < options_.cores; ++core)
        if (cores_[core].running != kNobody) PostCore(core, kTimerTick);
      At(now_ + options_.tick, What::kTick, 0);
      return;
    case What::kTurn:
      if (destroyed_ && cores_[event.index].version == event.version &&
          !fallback_.empty()) {
        Preempt(event.index);
        FallBack(event.index);
      }
      return;
    case What::kGrace:
      if (agents_ == nullptr && event.version == absence_)
        Destroy("there was no agent for too long");
      return;
  }
}

// ---- Agents -----------------------------------------------------------------

void ModelKernel::Attach(Agents* agents) {
  agents_ = agents;
  ++absence_;
  for (CoreId core = 0; core < options_.cores; ++core) {
    cores_[core].has_agent = false;
    cores_[core].next_pass = kNever;
  }
  if (agents == nullptr) {
    At(now_ + options_.grace, What::kGrace, 0, absence_);
    return;
  }
  for (const CoreId core : agents->Where()) {
    cores_[core].has_agent = true;
    SchedulePass(core, now_);
  }
}

void ModelKernel::SchedulePass(CoreId core, Instant at) {
  if (at >= cores_[core].next_pass) return;
  cores_[core].next_pass = at;
  At(at, What::kPass, core);
}

void ModelKernel::Pass(CoreId core) {
  if (agents_ == nullptr || !cores_[core].has_agent || destroyed_) return;
  ++counts_.passes;
  passing_ = core;
  // What runs there stands still meanwhile.
  const uint32_t held_up = cores_[core].running;
  if (held_up != kNobody) {
    Account(core);
    cores_[core].version = next_version_++;
  }
  Instant next = kNever;
  try {
    next = agents_->Pass(core, now_);
  } catch (const ModelCrash&) {
    crashed_ = true;
    Attach(nullptr);
  }
  passing_ = kNoCore;
  if (held_up != kNobody && cores_[core].running == held_up) {
    cores_[core].since = now_;
    cores_[core].version = next_version_++;
    At(now_ + threads_[held_up].left, What::kRunEnds, core,
       cores_[core].version);
  }
  for (const Event& event : std::exchange(deferred_, {})) {
    if (event.what == What::kPass) {
      if (cores_[event.index].next_pass != event.at) continue;
      cores_[event.index].next_pass = kNever;
      SchedulePass(event.index, now_);
    } else {
      At(now_, event.what, event.index, event.version);
    }
  }
  if (next == kNever || agents_ == nullptr) return;
  for (const CoreId where : agents_->Where()) {
    // It may have moved.
    if (where == core || agents_->Where().size() == 1) {
      SchedulePass(where, std::max(next, now_ + Duration(1)));
    }
  }
}

// An agent has called.
void ModelKernel::Call() {
  if (++counts_.calls == options_.crash_at) throw ModelCrash();
}

void ModelKernel::WakeAgent(CoreId core) {
  if (core >= options_.cores) return;
  SchedulePass(core, now_ + Jittered(options_.costs.wake_agent));
}

void ModelKernel::MoveAgent(CoreId from, CoreId to) {
  Call();
  cores_[from].has_agent = false;
  cores_[to].has_agent = true;
  if (options_.agent_polls) {
    Unlatch(to);
    Preempt(to);
  }
  SchedulePass(to, now_);
}

// ---- Threads ----------------------------------------------------------------

ThreadId ModelKernel::Spawn(Script script, uint64_t domain, int32_t parent) {
  YAMANOTE_CHECK(!free_.empty(), "the model has no more threads");
  const uint32_t index = free_.back();
  free_.pop_back();
  ModelThread& thread = threads_[index];
  const uint32_t generation = thread.generation + 1;
  thread = {};
  thread.generation = generation;
  thread.script = std::move(script);
  thread.tid = ++last_tid_;
  thread.parent = parent;
  thread.domain = domain;
  thread.affinity = base::CoreSet(options_.cores);
  for (CoreId core = 0; core < options_.cores; ++core)
    thread.affinity.Add(core);
  thread.queue = new_threads_;
  thread.in_enclave = !destroyed_;
  ++alive_;
  BecomeRunnable(index, kThreadCreated);
  return IdOf(index);
}

void ModelKernel::Wake(ThreadId thread) {
  const uint32_t index = IndexOf(thread);
  if (threads_[index].state == State::kBlocked && IdOf(index) == thread)
    BecomeRunnable(index, kThreadWakeup);
}

void ModelKernel::Occupy(CoreId core, Instant from, Duration time) {
  At(from, What::kBusy, core);
  At(from + time, What::kIdle, core);
}

void ModelKernel::BecomeRunnable(uint32_t index, MessageType type) {
  ModelThread& thread = threads_[index];
  thread.state = State::kRunnable;
  thread.runnable_since = now_;
  thread.visible_at = now_;
  thread.wake = 0;
  if (!thread.in_enclave) {
    fallback_.push_back(index);
    for (CoreId core = 0; core < options_.cores; ++core) FallBack(core);
    return;
  }
  if (random_.Below(1000) < options_.early_messages)
    thread.visible_at = now_ + Duration(random_.Below(5000));
  PostThread(index, type);
}

// `index` is on a core and has done what it had to: what now?
void ModelKernel::RunScript(uint32_t index) {
  for (int i = 0; i < kMostActions; ++i) {
    ModelThread& thread = threads_[index];
    const CoreId core = thread.core;
    const Action action = thread.script(now_);
    switch (action.kind) {
      case Action::Kind::kRun:
        thread.left = action.time;
        if (thread.left <= Duration::zero()) break;
        cores_[core].since = now_;
        cores_[core].version = next_version_++;
        At(now_ + thread.left, What::kRunEnds, core, cores_[core].version);
        return;
      case Action::Kind::kBlock:
        TakeOff(core);
        thread.state = State::kBlocked;
        if (action.time != kNoPreemption) {
          thread.wake = next_version_++;
          At(now_ + action.time, What::kWake, index, thread.wake);
        }
        PostThread(index, kThreadBlocked);
        FallBack(core);
        return;
      case Action::Kind::kYield:
        TakeOff(core);
        BecomeRunnable(index, kThreadYield);
        FallBack(core);
        return;
      case Action::Kind::kAffinity:
        thread.affinity = base::CoreSet(options_.cores);
        for (const CoreId one : action.cores) thread.affinity.Add(one);
        if (action.cores.empty())
          for (CoreId one = 0; one < options_.cores; ++one)
            thread.affinity.Add(one);
        PostThread(index, kThreadAffinity);
        if (thread.affinity.Contains(core)) break;
        Preempt(core);
        FallBack(core);
        return;
      case Action::Kind::kWeight:
        thread.weight = action.weight;
        PostThread(index, kThreadPriority);
        break;
      case Action::Kind::kDepart:
      case Action::Kind::kExit:
        TakeOff(core);
        Remove(index, action.kind == Action::Kind::kExit ? kThreadDead
                                                         : kThreadDeparted);
        FallBack(core);
        return;
    }
  }
  YAMANOTE_CHECK(false, "a model's thread does nothing that takes time");
}

// What has run on `core` since is counted.
void ModelKernel::Account(CoreId core) {
  ModelThread& thread = threads_[cores_[core].running];
  const Duration ran = now_ - cores_[core].since;
  thread.ran += ran;
  thread.left = std::max(Duration::zero(), thread.left - ran);
  cores_[core].since = now_;
}

// Nothing runs on `core` any more.
void ModelKernel::TakeOff(CoreId core) {
  cores_[core].running = kNobody;
  cores_[core].version = next_version_++;
}

void ModelKernel::Preempt(CoreId core) {
  const uint32_t index = cores_[core].running;
  if (index == kNobody) return;
  Account(core);
  TakeOff(core);
  BecomeRunnable(index, kThreadPreempted);
}

// Whoever was to run on `core` is not.
void ModelKernel::Unlatch(CoreId core) {
  cores_[core].vacating = false;
  const uint32_t index = cores_[core].latched;
  if (index == kNobody) return;
  cores_[core].latched = kNobody;
  BecomeRunnable(index, kThreadPreempted);
}

void ModelKernel::Switch(CoreId core) {
  ModelCore& self = cores_[core];
  const uint32_t index = self.latched;
  if (std::exchange(self.vacating, false)) {
    if (self.running != kNobody) ++counts_.vacated;
    Preempt(core);
    return;
  }
  if (index == kNobody) return;
  if (self.running != kNobody) ++counts_.preemptions;
  Preempt(core);
  self.latched = kNobody;
  Begin(core, index);
}

void ModelKernel::Begin(CoreId core, uint32_t index) {
  ModelCore& self = cores_[core];
  ModelThread& thread = threads_[index];
  YAMANOTE_CHECK(self.running == kNobody && !self.busy,
                 "a core runs one thread, and none that a higher class has");
  YAMANOTE_CHECK(thread.affinity.Contains(core),
                 "a thread runs where it may be");
  YAMANOTE_CHECK(thread.state == State::kLatched ||
                     (!thread.in_enclave && thread.state == State::kRunnable),
                 "a thread runs once, and only if it can");
  ++counts_.switches;
  thread.state = State::kRunning;
  thread.core = core;
  self.running = index;
  self.since = now_;
  self.version = next_version_++;
  if (!thread.in_enclave) At(now_ + kTurn, What::kTurn, core, self.version);
  if (thread.left == Duration::zero()) {
    RunScript(index);
  } else {
    At(now_ + thread.left, What::kRunEnds, core, self.version);
  }
}

// What must hold between any two steps while the enclave is alive.
void ModelKernel::CheckTrust() {
  if (options_.siblings.empty() || destroyed_) return;
  for (CoreId a = 0; a < options_.cores; ++a) {
    const uint32_t one = cores_[a].running;
    if (one == kNobody || !threads_[one].in_enclave) continue;
    for (CoreId b = a + 1; b < options_.cores; ++b) {
      const uint32_t other = cores_[b].running;
      if (options_.siblings[a] != options_.siblings[b] || other == kNobody ||
          !threads_[other].in_enclave ||
          threads_[one].domain == threads_[other].domain)
        continue;
      if (counts_.violations++ > 0) continue;
      violation_ = fmt::format(
          "at {} ns sibling {} ran thread {} of trust domain {}, and {} thread "
          "{} of {}; seed {}",
          ToNanos(now_), a, one, threads_[one].domain, b, other,
          threads_[other].domain, options_.seed);
    }
  }
}

void ModelKernel::Remove(uint32_t index, MessageType type) {
  ModelThread& thread = threads_[index];
  thread.state = State::kBlocked;
  PostThread(index, type);
  Free(index);
}

void ModelKernel::Free(uint32_t index) {
  threads_[index].state = State::kFree;
  threads_[index].script = nullptr;
  free_.push_back(index);
  --alive_;
}

void ModelKernel::EndWait(const ModelThread& thread) {
  longest_wait_ = std::max(longest_wait_, now_ - thread.runnable_since);
}

// ---- The kernel's own scheduler ---------------------------------------------

void ModelKernel::Destroy(std::string reason) {
  if (destroyed_) return;
  destroyed_ = true;
  reason_ = std::move(reason);
  for (CoreId core = 0; core < options_.cores; ++core) Unlatch(core);
  for (uint32_t i = 0; i < options_.max_threads; ++i) {
    ModelThread& thread = threads_[i];
    if (thread.state == State::kFree) continue;
    thread.in_enclave = false;
    thread.visible_at = now_;
    if (thread.state == State::kRunnable) fallback_.push_back(i);
  }
  for (CoreId core = 0; core < options_.cores; ++core) {
    FallBack(core);
    if (cores_[core].running != kNobody)
      At(now_ + kTurn, What::kTurn, core, cores_[core].version);
  }
}

// The first that may, if `core` has nothing to run.
void ModelKernel::FallBack(CoreId core) {
  if (!destroyed_ || cores_[core].running != kNobody || cores_[core].busy)
    return;
  for (std::size_t i = 0; i < fallback_.size(); ++i) {
    const uint32_t index = fallback_[i];
    if (!threads_[index].affinity.Contains(core)) continue;
    fallback_.erase(fallback_.begin() + static_cast<std::ptrdiff_t>(i));
    Begin(core, index);
    return;
  }
}

}  // namespace yamanote::native
