// tracing_queues.cc - a traced enclave's queues: rings that the BPF programs fill, and what
// is made here.

#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
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

namespace {

// A ring buffer's record: 8 bytes before the message; the length's highest bits are flags.
constexpr uint32_t kRecordHeader = 8;
constexpr uint32_t kBusy = 1U << 31;
constexpr uint32_t kDiscarded = 1U << 30;
static_assert(sizeof(Message) % 8 == 0);
constexpr uint32_t kRecord = kRecordHeader + sizeof(Message);

tl::unexpected<Error> NoTracedQueue(QueueId queue) {
  return MakeError(ErrorCode::kNotFound,
                   fmt::format("there is no queue {}", queue));
}

}  // namespace

Result<QueueId> TracingEnclave::CreateQueue(uint32_t capacity) {
  constexpr uint32_t kMost = 1U << 22;
  if (capacity == 0 || capacity > kMost) {
    return MakeError(ErrorCode::kInvalidArgument,
                     fmt::format("a queue's capacity is {}; it must be 1 .. {}",
                                 capacity, kMost));
  }
  const std::lock_guard guard(mutex_);
  QueueId id = 0;
  while (id < queues_.size() && queues_[id].alive) ++id;
  if (id == queues_.size()) {
    return MakeError(ErrorCode::kResourceExhausted,
                     fmt::format("there are {} queues, one for each core and "
                                 "two more; destroy one first",
                                 queues_.size()));
  }
  const auto page = static_cast<uint32_t>(sysconf(_SC_PAGESIZE));
  const uint32_t bytes = std::max(page, std::bit_ceil(capacity * kRecord));
  const Result<int> ring = object_->CreateRing(id, bytes);
  if (!ring) return tl::unexpected(ring.error());
  Queue& queue = queues_[id];
  const std::lock_guard queue_guard(queue.lock);
  queue.ring = *ring;
  queue.size = bytes;
  void* const consumer =
      mmap(nullptr, page, PROT_READ | PROT_WRITE, MAP_SHARED, *ring, 0);
  void* const producer =
      mmap(nullptr, page + 2 * queue.size, PROT_READ, MAP_SHARED, *ring, page);
  queue.consumer =
      consumer == MAP_FAILED ? nullptr : static_cast<char*>(consumer);
  queue.producer =
      producer == MAP_FAILED ? nullptr : static_cast<char*>(producer);
  if (queue.consumer == nullptr || queue.producer == nullptr) {
    const int failed = errno;
    Close(id);
    return MakeError(ErrorCode::kResourceExhausted,
                     fmt::format("a queue of {} bytes cannot be mapped: {}; "
                                 "ask for a shorter one",
                                 bytes, std::strerror(failed)),
                     failed);
  }
  queue.capacity = capacity;
  queue.lost_seen = Load(object_->queues()[id].lost);
  queue.lost_own = false;
  queue.agent = kNoCore;
  queue.alive = true;
  return id;
}

// Requires: mutex_ and the queue's lock.
void TracingEnclave::Close(QueueId id) {
  Queue& queue = queues_[id];
  __atomic_store_n(&object_->queues()[id].agent, 0, __ATOMIC_RELEASE);
  object_->RemoveRing(id);
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  if (queue.consumer != nullptr) munmap(queue.consumer, page);
  if (queue.producer != nullptr) munmap(queue.producer, page + 2 * queue.size);
  if (queue.ring >= 0) close(queue.ring);  // Leaves its epoll, too.
  queue.consumer = nullptr;
  queue.producer = nullptr;
  queue.ring = -1;
  queue.own.clear();
  queue.alive = false;
}

Result<void> TracingEnclave::DestroyQueue(QueueId id) {
  const std::lock_guard guard(mutex_);
  if (!IsQueue(id)) return NoTracedQueue(id);
  for (uint32_t i = 0; i < options_.max_threads; ++i) {
    TracedThread& thread = object_->thread(i);
    if (Load(thread.thread) == 0 || QueueOf(Load(thread.state)) != id) continue;
    return MakeError(ErrorCode::kInvalidArgument,
                     fmt::format("queue {} is thread {}'s; associate it with "
                                 "another first",
                                 id, thread.tid));
  }
  for (CoreId core = 0; core < cores(); ++core) {
    if (cores_[core].queue != id) continue;
    return MakeError(ErrorCode::kInvalidArgument,
                     fmt::format("queue {} is core {}'s; associate it with "
                                 "another first",
                                 id, core));
  }
  if (object_->common()->new_queue == id) {
    return MakeError(ErrorCode::kInvalidArgument,
                     fmt::format("queue {} is that of new threads; associate "
                                 "another with them first",
                                 id));
  }
  const std::lock_guard queue_guard(queues_[id].lock);
  Close(id);
  return {};
}

Result<void> TracingEnclave::ConfigureWake(QueueId id, CoreId agent) {
  const std::lock_guard guard(mutex_);
  if (!IsQueue(id) || (agent != kNoCore && agent >= cores()))
    return NoTracedQueue(id);
  Queue& queue = queues_[id];
  const std::lock_guard queue_guard(queue.lock);
  if (queue.agent != kNoCore)
    epoll_ctl(cores_[queue.agent].epoll, EPOLL_CTL_DEL, queue.ring, nullptr);
  queue.agent = agent;
  __atomic_store_n(&object_->queues()[id].agent, agent + 1, __ATOMIC_RELEASE);
  if (agent == kNoCore) return {};
  epoll_event event{};
  event.events = EPOLLIN;
  if (epoll_ctl(cores_[agent].epoll, EPOLL_CTL_ADD, queue.ring, &event) != 0) {
    return MakeError(ErrorCode::kInternal,
                     fmt::format("queue {} cannot wake core {}'s agent: {}", id,
                                 agent, std::strerror(errno)),
                     errno);
  }
  if (!queue.own.empty()) WakeAgent(agent);
  return {};
}

Association TracingEnclave::Associate(ThreadId id, QueueId queue,
                                      uint32_t sequence) {
  TracedThread* const thread = Find(id);
  if (thread == nullptr || !IsQueue(queue)) return Association::kNotFound;
  uint64_t state = Load(thread->state);
  do {
    if (SequenceOf(state) != sequence) return Association::kStale;
  } while (
      !Exchange(thread->state, state, (state & ~traced::kQueueMask) | queue));
  return Association::kDone;
}

Result<void> TracingEnclave::AssociateCore(CoreId core, QueueId queue) {
  const std::lock_guard guard(mutex_);
  if (!IsQueue(queue) || (core != kNoCore && core >= cores()))
    return NoTracedQueue(queue);
  if (core == kNoCore) {
    __atomic_store_n(&object_->common()->new_queue, queue, __ATOMIC_RELEASE);
  } else {
    cores_[core].queue = queue;
  }
  return {};
}

bool TracingEnclave::Receive(QueueId id, Message& message) {
  if (id >= queues_.size()) return false;
  Queue& queue = queues_[id];
  {
    const std::lock_guard guard(queue.lock);
    if (!queue.alive) return false;
    // What is made here comes first: it is older than what the ring has of a thread.
    if (!queue.own.empty()) {
      message = queue.own.front();
      queue.own.pop_front();
    } else if (!ReadRing(queue, message)) {
      return false;
    }
  }
  received_.fetch_add(1, std::memory_order_relaxed);
  NoteReceived(message);
  return true;
}

bool TracingEnclave::ReadRing(Queue& queue, Message& message) {
  auto* const consumed = reinterpret_cast<uint64_t*>(queue.consumer);
  const auto* const produced = reinterpret_cast<uint64_t*>(queue.producer);
  const char* const data =
      queue.producer + static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  uint64_t position = *consumed;
  while (position < Load(*produced)) {
    const char* const record = data + (position & (queue.size - 1));
    const uint32_t length = __atomic_load_n(
        reinterpret_cast<const uint32_t*>(record), __ATOMIC_ACQUIRE);
    if ((length & kBusy) != 0) return false;  // Its writer will wake us.
    const uint32_t bytes = length & ~kDiscarded;
    const bool whole = (length & kDiscarded) == 0 && bytes == sizeof(Message);
    if (whole) std::memcpy(&message, record + kRecordHeader, sizeof message);
    position += (bytes + kRecordHeader + 7) / 8 * 8;
    __atomic_store_n(consumed, position, __ATOMIC_SEQ_CST);
    if (whole) return true;
  }
  return false;
}

// Who has blocked must not come back with the priority that it had.
void TracingEnclave::NoteReceived(const Message& message) {
  if (message.thread == 0 || IndexOf(message.thread) >= options_.max_threads)
    return;
  const bool raised =
      own_[IndexOf(message.thread)].raised.load(std::memory_order_relaxed);
  if (message.type == kThreadBlocked && raised) {
    const std::lock_guard guard(mutex_);
    const TracedThread* const thread = Find(message.thread);
    if (thread != nullptr &&
        Granted(IndexOf(message.thread), Load(thread->state)) == kNoCore)
      Lower(message.thread);
  } else if (message.type == kThreadCreated) {
    const std::lock_guard guard(mutex_);
    Adopt(message.thread);
  }
}

bool TracingEnclave::Overflowed(QueueId id) {
  if (id >= queues_.size()) return false;
  bool lost = false;
  {
    Queue& queue = queues_[id];
    const std::lock_guard guard(queue.lock);
    if (!queue.alive) return false;
    const uint64_t count = Load(object_->queues()[id].lost);
    lost = std::exchange(queue.lost_seen, count) != count;
    lost |= std::exchange(queue.lost_own, false);
  }
  if (!lost) return false;
  // That somebody has blocked may be among what was lost.
  const std::lock_guard guard(mutex_);
  for (uint32_t i = 0; i < options_.max_threads; ++i) {
    const TracedThread& thread = object_->thread(i);
    const ThreadId now = Load(thread.thread);
    if (now != 0 && own_[i].raised.load(std::memory_order_relaxed) &&
        own_[i].thread == now && Granted(i, Load(thread.state)) == kNoCore)
      Lower(now);
  }
  return true;
}

CoreId TracingEnclave::Post(QueueId id, const Message& message) {
  if (!IsQueue(id)) return kNoCore;
  Queue& queue = queues_[id];
  if (queue.own.size() >= queue.capacity) {
    queue.lost_own = true;
  } else {
    queue.own.push_back(message);
  }
  if (queue.agent != kNoCore) {
    __atomic_fetch_add(&object_->agents()[queue.agent].sequence, 1,
                       __ATOMIC_SEQ_CST);
  }
  return queue.agent;
}

void TracingEnclave::Detach() {
  const std::lock_guard guard(mutex_);
  __atomic_store_n(&object_->common()->new_queue, uint32_t{kTracedNoQueue},
                   __ATOMIC_RELEASE);
  for (Core& core : cores_) {
    core.queue = kTracedNoQueue;
    core.holder = 0;
  }
  for (uint32_t i = 0; i < options_.max_threads; ++i) {
    TracedThread& thread = object_->thread(i);
    const ThreadId id = Load(thread.thread);
    if (id == 0) continue;
    uint64_t state = Load(thread.state);
    while (!Exchange(thread.state, state, state | kTracedNoQueue)) {
    }
    Preempt(id);
    Lower(id);
  }
  told_.clear();
  for (QueueId id = 0; id < queues_.size(); ++id) {
    const std::lock_guard queue_guard(queues_[id].lock);
    if (queues_[id].alive) Close(id);
  }
}

}  // namespace yamanote::native
