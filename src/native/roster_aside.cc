// roster_aside.cc - threads that were picked and could not be committed: they go first.
//
// With a core: set aside. Because of their trust domain: deferred.

#include <utility>

#include "native/roster.h"

namespace yamanote::native {

// Requires: `thread` waits, and is with nobody.
void Roster::SetAside(Thread& thread, CoreId core) {
  {
    const Guard guard = Lock(core);
    cores_[core].aside.push_back(&thread);
    cores_[core].asides.store(static_cast<uint32_t>(cores_[core].aside.size()),
                              std::memory_order_relaxed);
  }
  if (shared_) kernel_.WakeAgent(core);
}

// The first of those that are set aside with `core` that can run there now.
Thread* Roster::TakeAside(CoreId core) {
  Core& self = cores_[core];
  if (!HasAsides(core)) return nullptr;
  std::deque<Thread*> all;
  {
    const Guard guard = Lock(core);
    all.swap(self.aside);
  }
  Thread* found = nullptr;
  std::deque<Thread*> kept;
  for (Thread* const thread : all) {
    if (found != nullptr) {
      kept.push_back(thread);
      continue;
    }
    Guard guard = LockHome(*thread);
    if (thread->gone || (!thread->runnable && thread->on == kNoCore)) {
      Drop(*thread);
    } else if (thread->on != kNoCore || thread->there != kNoCore) {
      kept.push_back(thread);
    } else if (!kernel_.MayRun(thread->thread, core)) {
      const CoreId elsewhere = WhereItMayRun(*thread, core);
      guard.Release();
      if (elsewhere == core) {
        kept.push_back(thread);
      } else {
        SetAside(*thread, elsewhere);
      }
    } else if (!Admits(core, *thread)) {
      deferred_.push_back(thread);  // There it waits for a turn.
    } else if (TakeOver(*thread, core) == Taken::kYes) {
      SetWaiting(*thread, false);
      found = thread;
    } else {
      kept.push_back(thread);
    }
  }
  const Guard guard = Lock(core);
  self.aside.insert(self.aside.begin(), kept.begin(), kept.end());
  self.asides.store(static_cast<uint32_t>(self.aside.size()),
                    std::memory_order_relaxed);
  return found;
}

void Roster::Defer(Thread& thread) {
  SetWaiting(thread, true);
  deferred_.push_back(&thread);
}

// The first of the deferred that can run on `core` now.
Thread* Roster::TakeDeferred(CoreId core) {
  for (std::size_t i = 0; i < deferred_.size();) {
    Thread& thread = *deferred_[i];
    const auto at = deferred_.begin() + static_cast<std::ptrdiff_t>(i);
    if (thread.gone || !thread.runnable) {
      deferred_.erase(at);
      Drop(thread);
      continue;
    }
    if (MayRunNow(thread, core)) {
      if (Admits(core, thread)) {
        deferred_.erase(at);
        SetWaiting(thread, false);
        return &thread;
      }
    } else {
      bool somewhere = false;
      for (CoreId other = 0; other < count_ && !somewhere; ++other)
        somewhere = MayRunNow(thread, other);
      if (!somewhere) {  // No turn helps it.
        deferred_.erase(at);
        SetAside(thread, WhereItMayRun(thread, core));
        continue;
      }
    }
    ++i;
  }
  return nullptr;
}

// Of those that were picked before. Whoever has ended a turn goes before all.
Thread* Roster::TakeFirst(CoreId core) {
  if (siblings_ == nullptr) return TakeAside(core);
  if (siblings_->Reserved(core))
    if (Thread* const thread = TakeDeferred(core)) return thread;
  if (Thread* const thread = TakeAside(core)) return thread;
  return TakeDeferred(core);
}

}  // namespace yamanote::native
