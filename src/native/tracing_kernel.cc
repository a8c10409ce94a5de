// tracing_kernel.cc - a traced enclave as its agents see it: state and commits.

#include <sched.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <mutex>
#include <utility>

#include "native/settings.h"
#include "native/traced_state.h"
#include "native/tracing_enclave.h"

namespace yamanote::native {

using traced::Exchange;
using traced::Load;
using traced::QueueOf;
using traced::SequenceOf;

// ---- State ------------------------------------------------------------------

uint32_t TracingEnclave::AgentSequence(CoreId core) const {
  return __atomic_load_n(&object_->agents()[core].sequence, __ATOMIC_SEQ_CST);
}

TracedThread* TracingEnclave::Find(ThreadId id) const {
  if (IndexOf(id) >= options_.max_threads) return nullptr;
  TracedThread& thread = object_->threads()[IndexOf(id)];
  return id != 0 && Load(thread.thread) == id &&
                 (Load(thread.state) & traced::kAnnounced) != 0
             ? &thread
             : nullptr;
}

// Where `index`' thread has been committed, and nothing has happened to it since.
CoreId TracingEnclave::Granted(uint32_t index, uint64_t state) const {
  const uint64_t grant = own_[index].grant.load(std::memory_order_acquire);
  return grant >> 32 != 0 && static_cast<uint32_t>(grant) == SequenceOf(state)
             ? static_cast<CoreId>((grant >> 32) - 1)
             : kNoCore;
}

CoreId TracingEnclave::CoreOfCpu(uint32_t cpu) const {
  for (CoreId core = 0; core < cores(); ++core)
    if (options_.cpus[core] == cpu) return core;
  return kNoCore;
}

StatusWord TracingEnclave::StatusOf(const TracedThread& thread, uint32_t index,
                                    uint64_t state) const {
  const CoreId granted = Granted(index, state);
  uint32_t flags = (state & traced::kRunnable) != 0 ? kStatusRunnable : 0;
  if (granted != kNoCore && flags != 0) flags |= kStatusOnCore;
  return {.thread = thread.thread,
          .sequence = SequenceOf(state),
          .flags = flags,
          .core = granted != kNoCore ? granted : CoreOfCpu(thread.cpu),
          .tid = thread.tid,
          .ran_ns = thread.ran_ns,
          .weight = static_cast<uint16_t>(thread.weight),
          .unused = 0,
          .parent = thread.parent};
}

bool TracingEnclave::Read(ThreadId id, StatusWord& status) const {
  const TracedThread* const thread = Find(id);
  if (thread == nullptr) return false;
  // Number and bits come together, in one word; the rest may be a little older.
  status = StatusOf(*thread, IndexOf(id), Load(thread->state));
  status.thread = id;
  return Load(thread->thread) == id;
}

void TracingEnclave::ForEachThread(
    const std::function<void(const StatusWord&)>& visit) const {
  for (uint32_t i = 0; i < options_.max_threads; ++i) {
    StatusWord status{};
    if (Read(Load(object_->threads()[i].thread), status)) visit(status);
  }
}

bool TracingEnclave::MayRun(ThreadId id, CoreId core) const {
  const TracedThread* const thread = Find(id);
  return thread != nullptr && core < cores() &&
         own_[IndexOf(id)].unfit.load(std::memory_order_relaxed) != id &&
         MaskHas(thread->settings.affinity, options_.cpus[core]);
}

// ---- Commits ----------------------------------------------------------------

void TracingEnclave::Commit(std::span<Transaction> group) {
  const std::lock_guard guard(mutex_);
  const bool may = guardian_->BeginCommit();
  for (Transaction& transaction : group) {
    const CommitResult result =
        may ? CommitOne(transaction) : kCommitUnavailable;
    transaction.result = result;
    results_[result].fetch_add(1, std::memory_order_relaxed);
  }
  if (may) guardian_->EndCommit();
  // Who was preempted can go on at once only where nothing runs. Otherwise that is read
  // when something else happens: every pass begins with reading.
  if (HasIdleCore())
    for (const CoreId agent : told_) WakeAgent(agent);
  told_.clear();
}

// Requires: mutex_.
bool TracingEnclave::HasIdleCore() const {
  for (const Core& core : cores_) {
    const TracedThread* const thread = Find(core.holder);
    if (thread == nullptr ||
        Granted(IndexOf(core.holder), Load(thread->state)) == kNoCore)
      return true;
  }
  return false;
}

CommitResult TracingEnclave::CommitOne(const Transaction& transaction) {
  const CoreId core = transaction.core;
  if (core >= cores()) return kCommitBadCore;
  if ((transaction.flags & kCheckAgent) != 0 &&
      (transaction.agent >= cores() ||
       AgentSequence(transaction.agent) != transaction.agent_sequence))
    return kCommitStaleAgent;
  if (transaction.thread == 0) return kCommitNotSupported;
  TracedThread* const thread = Find(transaction.thread);
  if (thread == nullptr) return kCommitNotFound;
  const uint64_t state = Load(thread->state);
  const uint32_t index = IndexOf(transaction.thread);
  if ((transaction.flags & kCheckThread) != 0 &&
      SequenceOf(state) != transaction.thread_sequence)
    return kCommitStaleThread;
  if (Granted(index, state) != kNoCore) return kCommitOnCore;
  if ((state & traced::kRunnable) == 0) return kCommitNotRunnable;
  if (!MaskHas(thread->settings.affinity, options_.cpus[core]))
    return kCommitNotPermitted;

  // From here on the thread may block, which ends the grant that it gets for `state`'s
  // number: its message is on the way then. Or it may have died, which the system calls
  // say; that its number was given to another thread in between would take a whole round
  // of numbers within a microsecond.
  Adopt(transaction.thread);  // Its first message may have been lost.
  Own& own = OwnOf(transaction.thread);
  const CommitResult result = Grant(*thread, own, core);
  if (result != kCommitted) return result;
  own.grant.store(uint64_t{core + 1} << 32 | SequenceOf(state),
                  std::memory_order_release);
  // The one before it goes last, so that none of the ordinary class gets in between.
  const ThreadId before =
      std::exchange(cores_[core].holder, transaction.thread);
  if (before != 0 && before != transaction.thread) {
    const TracedThread* const other = Find(before);
    if (other != nullptr) {
      const CoreId on = Granted(IndexOf(before), Load(other->state));
      if (on == core) Preempt(before);
      if (on == core || on == kNoCore) Lower(before);
    }
  }
  return kCommitted;
}

CommitResult TracingEnclave::Grant(TracedThread& thread, Own& own,
                                   CoreId core) {
  // Whoever may run nowhere is not tried again and again.
  const auto refuse = [&](int failed) {
    if (failed == ESRCH) return kCommitNotFound;
    own.unfit.store(own.thread, std::memory_order_relaxed);
    return kCommitNotPermitted;
  };
  if (!NoticeChanges(thread, own)) return refuse(EPERM);
  const unsigned cpu = options_.cpus[core];
  if (!MaskHas(thread.settings.affinity, cpu)) return kCommitNotPermitted;
  if (own.pinned != core) {
    const int failed = PinTo(thread.tid, cpu);
    if (failed != 0) return refuse(failed);
    own.pinned = core;
  }
  if (own.raised.load(std::memory_order_relaxed)) return kCommitted;
  const int failed = MakeFifo(thread.tid, options_.priority);
  if (failed != 0) return refuse(failed);
  own.raised.store(true, std::memory_order_relaxed);
  return kCommitted;
}

// What the thread has changed itself since we last did is what it gets back. No tracepoint
// tells of it. False: it has a class of its own now, and is left alone.
bool TracingEnclave::NoticeChanges(TracedThread& thread, Own& own) {
  if (!own.raised.load(std::memory_order_relaxed) &&
      !NoticeClass(thread.tid, default_runtime_, thread.settings))
    return false;
  uint64_t ours[kTracedMaskWords] = {};
  if (own.pinned != kNoCore) {
    MaskAdd(ours, options_.cpus[own.pinned]);
  } else if (own.spread) {
    for (int i = 0; i < kTracedMaskWords; ++i)
      ours[i] = thread.settings.affinity[i] & enclave_mask_[i];
  } else {
    return true;  // As its parent was; that is not known any more.
  }
  uint64_t mask[kTracedMaskWords];
  if (ReadAffinity(thread.tid, mask) != 0 ||
      std::memcmp(mask, ours, sizeof mask) == 0)
    return true;
  std::memcpy(thread.settings.affinity, mask, sizeof mask);
  own.pinned = kNoCore;
  own.spread = false;
  return true;
}

// Ends `id`'s grant, if it has one, and says so. Requires: mutex_.
void TracingEnclave::Preempt(ThreadId id) {
  TracedThread* const thread = Find(id);
  if (thread == nullptr) return;
  const uint32_t index = IndexOf(id);
  const auto next = [&](uint64_t state) {
    // Without one it has just left by itself.
    return Granted(index, state) == kNoCore ? state
                                            : state + traced::kOneMessage;
  };
  if (Tell(*thread, index, kThreadPreempted, next))
    own_[index].grant.store(0, std::memory_order_release);
}

// Makes `thread`'s state `next` of it, which has the next number, and says `type`; false:
// it is to stay as it is. Requires: mutex_. Its queue's reader sees this before whatever the programs send
// from then on.
bool TracingEnclave::Tell(TracedThread& thread, uint32_t index,
                          MessageType type,
                          const std::function<uint64_t(uint64_t)>& next) {
  for (;;) {
    uint64_t state = Load(thread.state);
    const QueueId queue = QueueOf(state);
    std::unique_lock<PriorityMutex> guard;
    if (queue < queues_.size()) guard = std::unique_lock(queues_[queue].lock);
    const uint64_t told = next(state);
    if (told == state) return false;
    if (!Exchange(thread.state, state, told)) continue;
    const StatusWord status = StatusOf(thread, index, told);
    const CoreId agent =
        Post(queue, {.type = static_cast<uint8_t>(type),
                     .flags = static_cast<uint8_t>(status.flags),
                     .weight = status.weight,
                     .core = status.core,
                     .thread = status.thread,
                     .sequence = status.sequence,
                     .tid = status.tid,
                     .ran_ns = status.ran_ns,
                     .at_ns = MonotonicNanos()});
    guard = {};
    if (agent == kNoCore) return true;
    if (type == kThreadPreempted) {
      told_.push_back(agent);
    } else {
      WakeAgent(agent);
    }
    return true;
  }
}

// Gives `id` its own class back. Requires: mutex_.
void TracingEnclave::Lower(ThreadId id) {
  Own& own = own_[IndexOf(id)];
  if (own.thread != id || !own.raised.load(std::memory_order_relaxed)) return;
  own.raised.store(false, std::memory_order_relaxed);
  const TracedThread* const thread = Find(id);
  if (thread != nullptr) RestoreClass(thread->tid, thread->settings);
}

// Requires: mutex_.
TracingEnclave::Own& TracingEnclave::OwnOf(ThreadId id) {
  Own& own = own_[IndexOf(id)];
  if (own.thread == id) return own;
  own.thread = id;
  own.grant.store(0, std::memory_order_release);
  own.raised.store(false, std::memory_order_relaxed);
  own.unfit.store(0, std::memory_order_relaxed);
  own.pinned = kNoCore;
  own.spread = false;
  return own;
}

// A child of one with a real-time priority is of the ordinary class, nice 0. It gets what
// its parent had. Requires: mutex_.
void TracingEnclave::Adopt(ThreadId id) {
  const TracedThread* const thread = Find(id);
  if (thread == nullptr || own_[IndexOf(id)].thread == id) return;
  OwnOf(id);
  const TracedSettings& settings = thread->settings;
  if (settings.policy != SCHED_OTHER || settings.nice != 0 ||
      settings.flags != 0 || settings.runtime != 0)
    RestoreClass(thread->tid, settings);
}

void TracingEnclave::WakeAgent(CoreId core) {
  const uint64_t one = 1;
  [[maybe_unused]] const auto told = write(cores_[core].wake, &one, sizeof one);
}

}  // namespace yamanote::native
