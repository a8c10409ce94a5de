// agents_stress_test.cc - agents of several cores, each on a kernel thread of its own.
//
// The model runs agents one after another; here they really race, over a kernel that is one
// lock. For ThreadSanitizer, and for lost wake-ups: an agent that should look and sleeps
// leaves a thread unfinished.

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "base/random.h"
#include "native/agents.h"

namespace yamanote::native {
namespace {

using namespace std::chrono_literals;

// Every thread runs `runs` times, each time until the world takes it off its core.
class LockedKernel final : public Kernel {
 public:
  LockedKernel(unsigned cores, uint32_t threads, int runs)
      : cores_(cores), threads_(threads), runs_(runs) {}

  unsigned cores() const override {
    return static_cast<unsigned>(cores_.size());
  }
  uint32_t max_threads() const override {
    return static_cast<uint32_t>(threads_.size());
  }
  Result<QueueId> CreateQueue(uint32_t) override {
    const std::lock_guard lock(mutex_);
    queues_.emplace_back();
    return static_cast<QueueId>(queues_.size() - 1);
  }
  Result<void> DestroyQueue(QueueId) override { return {}; }
  Result<void> ConfigureWake(QueueId queue, CoreId agent) override {
    const std::lock_guard lock(mutex_);
    queues_[queue].wakes = agent;
    return {};
  }
  Association Associate(ThreadId id, QueueId queue,
                        uint32_t sequence) override {
    const std::lock_guard lock(mutex_);
    Thread& thread = threads_[IndexOf(id)];
    if (!thread.alive) return Association::kNotFound;
    for (const Message& message : queues_[thread.queue].messages)
      if (message.thread == id) return Association::kPending;
    if (thread.sequence != sequence) return Association::kStale;
    thread.queue = queue;
    return Association::kDone;
  }
  Result<void> AssociateCore(CoreId core, QueueId queue) override {
    const std::lock_guard lock(mutex_);
    if (core == kNoCore) new_threads_ = queue;
    return {};
  }
  bool Receive(QueueId queue, Message& message) override {
    const std::lock_guard lock(mutex_);
    if (queues_[queue].messages.empty()) return false;
    message = queues_[queue].messages.front();
    queues_[queue].messages.pop_front();
    return true;
  }
  bool Overflowed(QueueId) override { return false; }
  void Detach() override {}
  uint32_t AgentSequence(CoreId core) const override {
    const std::lock_guard lock(mutex_);
    return cores_[core].agent_sequence;
  }
  bool Read(ThreadId, StatusWord&) const override { return false; }
  void ForEachThread(
      const std::function<void(const StatusWord&)>&) const override {}
  bool MayRun(ThreadId id, CoreId core) const override {
    const std::lock_guard lock(mutex_);
    // Some may not run everywhere.
    const uint32_t index = IndexOf(id);
    return threads_[index].alive && (index % 4 != 3 || index % cores() != core);
  }
  bool Available(CoreId) const override { return true; }
  void Commit(std::span<Transaction> group) override {
    const std::lock_guard lock(mutex_);
    for (Transaction& transaction : group)
      transaction.result = CommitOne(transaction);
  }
  void WakeAgent(CoreId core) override {
    const std::lock_guard lock(mutex_);
    Wake(core);
  }
  void MoveAgent(CoreId, CoreId) override {}

  // ---- The world

  void Create(uint32_t index) {
    const std::lock_guard lock(mutex_);
    threads_[index].alive = true;
    threads_[index].runnable = true;
    threads_[index].queue = new_threads_;
    ++alive_;
    Post(index, kThreadCreated);
  }
  // Something happens to a thread. False: all have ended.
  bool Happen(base::Random& random) {
    const std::lock_guard lock(mutex_);
    const auto index = static_cast<uint32_t>(random.Below(threads_.size()));
    Thread& thread = threads_[index];
    if (thread.alive && !thread.runnable) {
      thread.runnable = true;
      Post(index, kThreadWakeup);
    } else if (thread.alive && thread.on != kNoCore) {
      cores_[thread.on].running = kNobody;
      thread.on = kNoCore;
      if (++thread.ran == runs_) {
        thread.runnable = false;
        Post(index, kThreadDead);
        thread.alive = false;
        --alive_;
      } else if (random.Below(2) == 0) {
        thread.runnable = false;
        Post(index, kThreadBlocked);
      } else {
        Post(index, random.Below(2) == 0 ? kThreadYield : kThreadPreempted);
      }
    }
    return alive_ > 0;
  }
  // What `core`'s agent does between passes. False: it is over, or it waited in vain.
  bool Sleep(CoreId core, Instant until) {
    std::unique_lock lock(mutex_);
    const auto awake = [&] { return cores_[core].wake || over_; };
    const auto most = until == kNever ? Duration(10s) : until - Clock::now();
    if (!cores_[core].changed.wait_for(lock, most, awake) && until == kNever &&
        SomebodyWaits())
      ++lost_;
    cores_[core].wake = false;
    return !over_ && lost_ == 0;
  }
  int lost() const {
    const std::lock_guard lock(mutex_);
    return lost_;
  }
  // All agents are to end.
  void End() {
    {
      const std::lock_guard lock(mutex_);
      over_ = true;
    }
    for (CoreId core = 0; core < cores(); ++core) WakeAgent(core);
  }

 private:
  static constexpr uint32_t kNobody = UINT32_MAX;

  struct Thread {
    bool alive = false;
    bool runnable = false;
    CoreId on = kNoCore;
    Instant since{};  // Its last message.
    uint32_t sequence = 0;
    QueueId queue = 0;
    int ran = 0;
  };
  struct Core {
    uint32_t running = kNobody;
    uint32_t agent_sequence = 0;
    bool wake = false;
    std::condition_variable changed;
  };
  struct Queue {
    CoreId wakes = kNoCore;
    std::deque<Message> messages;
  };

  // For longer than an agent takes that was woken, however busy the machine is.
  bool SomebodyWaits() const {
    return std::ranges::any_of(threads_, [](const Thread& thread) {
      return thread.alive && thread.runnable && thread.on == kNoCore &&
             Clock::now() - thread.since > 5s;
    });
  }
  void Wake(CoreId core) {
    cores_[core].wake = true;
    cores_[core].changed.notify_one();
  }
  void Post(uint32_t index, MessageType type) {
    Thread& thread = threads_[index];
    thread.since = Clock::now();
    Queue& queue = queues_[thread.queue];
    queue.messages.push_back(
        {.type = static_cast<uint8_t>(type),
         .flags = static_cast<uint8_t>(thread.runnable ? kStatusRunnable : 0),
         .weight = 1,
         .core = 0,
         .thread = uint64_t{1} << 32 | index,
         .sequence = ++thread.sequence,
         .tid = static_cast<int32_t>(index) + 1,
         .ran_ns = 0,
         .at_ns = 0});
    if (queue.wakes == kNoCore) return;
    ++cores_[queue.wakes].agent_sequence;
    Wake(queue.wakes);
  }
  CommitResult CommitOne(const Transaction& transaction) {
    Thread& thread = threads_[IndexOf(transaction.thread)];
    if ((transaction.flags & kCheckAgent) != 0 &&
        cores_[transaction.agent].agent_sequence != transaction.agent_sequence)
      return kCommitStaleAgent;
    if (!thread.alive) return kCommitNotFound;
    if (thread.sequence != transaction.thread_sequence)
      return kCommitStaleThread;
    if (thread.on != kNoCore) return kCommitOnCore;
    if (!thread.runnable) return kCommitNotRunnable;
    Core& core = cores_[transaction.core];
    if (core.running != kNobody) {
      threads_[core.running].on = kNoCore;
      Post(core.running, kThreadPreempted);
    }
    thread.on = transaction.core;
    core.running = IndexOf(transaction.thread);
    return kCommitted;
  }

  mutable std::mutex mutex_;
  // Guarded by it:
  std::vector<Core> cores_;
  std::vector<Thread> threads_;
  std::deque<Queue> queues_;
  QueueId new_threads_ = 0;
  const int runs_;
  int alive_ = 0;
  int lost_ = 0;
  bool over_ = false;
};

void Storm(PlacementKind placement, SliceRange slice, uint64_t seed) {
  constexpr unsigned kCores = 3;
  constexpr uint32_t kThreads = 12;
  LockedKernel kernel(kCores, kThreads, 20);
  AgentOptions options;
  options.scheduling.order = "rr";
  options.scheduling.slice = slice;
  options.scheduling.placement = placement;
  const auto agents = Agents::Create(kernel, options, Clock::now());
  ASSERT_TRUE(agents) << agents.error().message;
  for (uint32_t i = 0; i < kThreads; ++i) kernel.Create(i);

  std::vector<std::thread> passing;
  for (const CoreId core : (*agents)->Where()) {
    passing.emplace_back([&, core] {
      Instant next = Clock::now();
      while (kernel.Sleep(core, next))
        next = (*agents)->Pass(core, Clock::now());
    });
  }
  base::Random random(seed);
  const Instant give_up = Clock::now() + 30s;
  bool left = true;
  while ((left = kernel.Happen(random)) && kernel.lost() == 0 &&
         Clock::now() < give_up) {
    std::this_thread::yield();
  }
  EXPECT_FALSE(left) << "threads are left; seed " << seed;
  EXPECT_EQ(kernel.lost(), 0) << "an agent slept; seed " << seed;
  kernel.End();
  for (std::thread& thread : passing) thread.join();
}

TEST(AgentsStressTest, AgentsOfAllCoresRace) {
  for (uint64_t seed = 1; seed <= 3; ++seed)
    Storm(PlacementKind::kStealing, SliceRange{}, seed);
}

TEST(AgentsStressTest, AgentsOfAllCoresRaceWithSlices) {
  for (uint64_t seed = 1; seed <= 3; ++seed)
    Storm(PlacementKind::kStealing, SliceRange{20us}, seed);
}

TEST(AgentsStressTest, TheGlobalAgentRacesWithTheWorld) {
  for (uint64_t seed = 1; seed <= 3; ++seed)
    Storm(PlacementKind::kCentral, SliceRange{20us}, seed);
}

}  // namespace
}  // namespace yamanote::native
