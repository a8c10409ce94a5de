// model_kernel.cc - the model as its agents see it.

#include <fmt/format.h>

#include <utility>

#include "native/model.h"

namespace yamanote::native {

namespace {

tl::unexpected<Error> NoQueue(QueueId queue) {
  return MakeError(ErrorCode::kNotFound,
                   fmt::format("there is no queue {}", queue));
}

}  // namespace

// ---- Queues -----------------------------------------------------------------

Result<QueueId> ModelKernel::CreateQueue(uint32_t capacity) {
  if (capacity == 0) {
    return MakeError(ErrorCode::kInvalidArgument,
                     "a queue's capacity is 0; it must be 1 at least");
  }
  queues_.push_back({.alive = true,
                     .capacity = capacity,
                     .wakes = kNoCore,
                     .overflowed = false,
                     .messages = {}});
  return static_cast<QueueId>(queues_.size() - 1);
}

Result<void> ModelKernel::DestroyQueue(QueueId queue) {
  if (queue >= queues_.size() || !queues_[queue].alive) return NoQueue(queue);
  for (uint32_t i = 0; i < options_.max_threads; ++i) {
    if (threads_[i].state == State::kFree || threads_[i].queue != queue)
      continue;
    return MakeError(ErrorCode::kInvalidArgument,
                     fmt::format("queue {} is thread {}'s; associate it with "
                                 "another first",
                                 queue, i));
  }
  for (CoreId core = 0; core < options_.cores; ++core) {
    if (cores_[core].queue != queue) continue;
    return MakeError(ErrorCode::kInvalidArgument,
                     fmt::format("queue {} is core {}'s; associate it with "
                                 "another first",
                                 queue, core));
  }
  if (new_threads_ == queue) {
    return MakeError(ErrorCode::kInvalidArgument,
                     fmt::format("queue {} is that of new threads; associate "
                                 "another with them first",
                                 queue));
  }
  queues_[queue] = {};
  return {};
}

Result<void> ModelKernel::ConfigureWake(QueueId queue, CoreId agent) {
  if (queue >= queues_.size() || !queues_[queue].alive) return NoQueue(queue);
  queues_[queue].wakes = agent;
  return {};
}

Association ModelKernel::Associate(ThreadId id, QueueId queue,
                                   uint32_t sequence) {
  Call();
  if (Find(id) == nullptr || queue >= queues_.size() || !queues_[queue].alive)
    return Association::kNotFound;
  ModelThread& thread = threads_[IndexOf(id)];
  if (thread.queue != kNoQueue) {
    for (const Message& message : queues_[thread.queue].messages)
      if (message.thread == id) return Association::kPending;
  }
  if (thread.sequence != sequence) return Association::kStale;
  thread.queue = queue;
  return Association::kDone;
}

Result<void> ModelKernel::AssociateCore(CoreId core, QueueId queue) {
  if (queue >= queues_.size() || !queues_[queue].alive) return NoQueue(queue);
  (core == kNoCore ? new_threads_ : cores_[core].queue) = queue;
  return {};
}

bool ModelKernel::Receive(QueueId queue, Message& message) {
  Call();
  if (queues_[queue].messages.empty()) return false;
  message = queues_[queue].messages.front();
  queues_[queue].messages.pop_front();
  Elapse(options_.costs.receive);
  return true;
}

bool ModelKernel::Overflowed(QueueId queue) {
  return std::exchange(queues_[queue].overflowed, false);
}

void ModelKernel::Detach() {
  for (Queue& queue : queues_) queue = {};
  for (ModelThread& thread : threads_) thread.queue = kNoQueue;
  for (ModelCore& core : cores_) core.queue = kNoQueue;
  new_threads_ = kNoQueue;
  if (agents_ != nullptr) Attach(nullptr);
}

void ModelKernel::Post(QueueId queue, const Message& message) {
  if (queue == kNoQueue || !queues_[queue].alive) return;
  Queue& to = queues_[queue];
  ++counts_.messages;
  if (to.messages.size() >= to.capacity) {
    to.overflowed = true;
    ++counts_.lost_messages;
  } else {
    to.messages.push_back(message);
  }
  if (to.wakes == kNoCore) return;
  ++cores_[to.wakes].agent_sequence;
  WakeAgent(to.wakes);
}

void ModelKernel::PostThread(uint32_t index, MessageType type) {
  ModelThread& thread = threads_[index];
  if (!thread.in_enclave) return;
  ++thread.sequence;
  const StatusWord status = StatusOf(index);
  Post(thread.queue, {.type = static_cast<uint8_t>(type),
                      .flags = static_cast<uint8_t>(status.flags),
                      .weight = status.weight,
                      .core = status.core,
                      .thread = status.thread,
                      .sequence = status.sequence,
                      .tid = status.tid,
                      .ran_ns = status.ran_ns,
                      .at_ns = static_cast<uint64_t>(ToNanos(now_))});
}

void ModelKernel::PostCore(CoreId core, MessageType type) {
  Post(cores_[core].queue, {.type = static_cast<uint8_t>(type),
                            .flags = 0,
                            .weight = 0,
                            .core = core,
                            .thread = 0,
                            .sequence = 0,
                            .tid = 0,
                            .ran_ns = 0,
                            .at_ns = static_cast<uint64_t>(ToNanos(now_))});
}

// ---- State ------------------------------------------------------------------

const ModelKernel::ModelThread* ModelKernel::Find(ThreadId id) const {
  if (IndexOf(id) >= options_.max_threads) return nullptr;
  const ModelThread& thread = threads_[IndexOf(id)];
  return thread.state != State::kFree && thread.in_enclave &&
                 IdOf(IndexOf(id)) == id
             ? &thread
             : nullptr;
}

StatusWord ModelKernel::StatusOf(uint32_t index) const {
  const ModelThread& thread = threads_[index];
  const bool on_core =
      thread.state == State::kRunning || thread.state == State::kLatched;
  const bool runnable = on_core || thread.state == State::kRunnable;
  return {.thread = IdOf(index),
          .sequence = thread.sequence,
          .flags = (runnable ? uint32_t{kStatusRunnable} : 0) |
                   (on_core ? uint32_t{kStatusOnCore} : 0),
          .core = thread.core,
          .tid = thread.tid,
          .ran_ns = static_cast<uint64_t>(ToNanos(thread.ran)),
          .weight = thread.weight,
          .unused = 0,
          .parent = thread.parent};
}

uint32_t ModelKernel::AgentSequence(CoreId core) const {
  return cores_[core].agent_sequence;
}

bool ModelKernel::Read(ThreadId thread, StatusWord& status) const {
  if (Find(thread) == nullptr) return false;
  status = StatusOf(IndexOf(thread));
  return true;
}

void ModelKernel::ForEachThread(
    const std::function<void(const StatusWord&)>& visit) const {
  for (uint32_t i = 0; i < options_.max_threads; ++i)
    if (threads_[i].state != State::kFree && threads_[i].in_enclave)
      visit(StatusOf(i));
}

bool ModelKernel::MayRun(ThreadId id, CoreId core) const {
  const ModelThread* const thread = Find(id);
  return thread != nullptr && thread->affinity.Contains(core);
}

uint64_t ModelKernel::DomainOf(int32_t tid) const {
  for (const ModelThread& thread : threads_)
    if (thread.tid == tid) return thread.domain;
  return 0;  // It has ended, and runs nowhere.
}

CoreId ModelKernel::WhereIs(ThreadId id) const {
  const ModelThread* const thread = Find(id);
  return thread != nullptr && thread->state == State::kRunning ? thread->core
                                                               : kNoCore;
}

// ---- Commits ----------------------------------------------------------------

void ModelKernel::Commit(std::span<Transaction> group) {
  Call();
  Elapse(options_.costs.group);
  for (Transaction& transaction : group) {
    Elapse(options_.costs.commit);
    const CommitResult result = CommitOne(transaction);
    transaction.result = result;
    ++counts_.results[result];
  }
}

CommitResult ModelKernel::CommitOne(const Transaction& transaction) {
  if (transaction.core >= options_.cores) return kCommitBadCore;
  if ((transaction.flags & kCheckAgent) != 0 &&
      (transaction.agent >= options_.cores ||
       cores_[transaction.agent].agent_sequence != transaction.agent_sequence))
    return kCommitStaleAgent;
  if (transaction.thread == 0) return Vacate(transaction.core);
  if (Find(transaction.thread) == nullptr) return kCommitNotFound;
  const uint32_t index = IndexOf(transaction.thread);
  ModelThread& thread = threads_[index];
  if ((transaction.flags & kCheckThread) != 0 &&
      thread.sequence != transaction.thread_sequence)
    return kCommitStaleThread;
  ModelCore& core = cores_[transaction.core];
  if (core.busy) return kCommitUnavailable;
  if (thread.state == State::kRunning || thread.state == State::kLatched)
    return kCommitOnCore;
  if (thread.state != State::kRunnable || thread.visible_at > now_)
    return kCommitNotRunnable;
  if (!thread.affinity.Contains(transaction.core)) return kCommitNotPermitted;
  Unlatch(transaction.core);
  EndWait(thread);
  thread.state = State::kLatched;
  thread.core = transaction.core;
  core.latched = index;
  Latch(transaction.core);
  return kCommitted;
}

// Its core is about to run nothing, and whoever was to run there is not.
CommitResult ModelKernel::Vacate(CoreId core) {
  if (cores_[core].busy) return kCommitUnavailable;
  Unlatch(core);
  cores_[core].vacating = true;
  Latch(core);
  return kCommitted;
}

// `core` switches when the interrupt has come.
void ModelKernel::Latch(CoreId core) {
  cores_[core].latch = next_version_++;
  const Duration delay =
      options_.costs.change +
      (core == passing_ ? Duration::zero() : options_.costs.interrupt);
  At(now_ + Jittered(delay), What::kSwitch, core, cores_[core].latch);
}

}  // namespace yamanote::native
