// tracing_enclave.h - a traced enclave from within: see tracing.h.
//
// A thread is *granted* a core from its commit to the next message about it: `grant`
// holds that core and the sequence number that the thread then had. Preempting is ours
// alone, so its message is made here: by compare-and-swap of the number, which fails if
// the thread has just blocked.
//
// Thread safety: tracing.h's. Locks are taken in this order: mutex_, one queue's.

#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "native/guardian.h"
#include "native/joining.h"
#include "native/priority_mutex.h"
#include "native/tracing.h"
#include "native/tracing_object.h"

namespace yamanote::native {

class TracingEnclave final : public TracingKernel {
 public:
  explicit TracingEnclave(const Options& options);
  ~TracingEnclave() override;
  Result<void> Start();

  // ---- TracingKernel
  Result<Joined> Add(pid_t pid) override;
  unsigned Remove(pid_t pid) override;
  uint32_t threads() const override;
  Counts counts() const override;
  pid_t guardian() const override { return guardian_->pid(); }

  // ---- AgentHost
  void Wait(CoreId core, Duration most) override;
  Result<void> EnterAgent(CoreId agent) override;
  void LeaveAgent(CoreId agent) override { guardian_->Leave(agent); }
  void AgentAwake(CoreId agent) override { guardian_->Awake(agent); }
  void AgentAsleep(CoreId agent) override { guardian_->Asleep(agent); }
  std::string Ended() const override { return guardian_->Ended(); }

  // ---- Kernel
  unsigned cores() const override {
    return static_cast<unsigned>(options_.cpus.size());
  }
  uint32_t max_threads() const override { return options_.max_threads; }
  Result<QueueId> CreateQueue(uint32_t capacity) override;
  Result<void> DestroyQueue(QueueId queue) override;
  Result<void> ConfigureWake(QueueId queue, CoreId agent) override;
  // Never kPending: what waits in the old queue is not newer than `sequence`.
  Association Associate(ThreadId thread, QueueId queue,
                        uint32_t sequence) override;
  // New threads' messages go to kNoCore's queue wherever they appear.
  Result<void> AssociateCore(CoreId core, QueueId queue) override;
  bool Receive(QueueId queue, Message& message) override;
  bool Overflowed(QueueId queue) override;
  // Threads that had a core go on in their own class.
  void Detach() override;
  uint32_t AgentSequence(CoreId core) const override;
  bool Read(ThreadId thread, StatusWord& status) const override;
  void ForEachThread(
      const std::function<void(const StatusWord&)>& visit) const override;
  bool MayRun(ThreadId thread, CoreId core) const override;
  bool Available(CoreId /*core*/) const override { return true; }
  void Commit(std::span<Transaction> group) override;
  std::string_view WhyNoCoreScheduling() const override {
    return "on this back-end, tracing, threads that nobody committed run in "
           "their own class wherever a core idles, beside any other trust "
           "domain; unset it, or let Linux do it: prctl(PR_SCHED_CORE)";
  }
  void WakeAgent(CoreId core) override;
  void MoveAgent(CoreId from, CoreId to) override;

 private:
  // What this side knows of a thread beside what the programs do.
  struct Own {
    // core + 1 << 32 | the sequence number of the commit. Written with mutex_ held.
    std::atomic<uint64_t> grant{0};
    // It has a real-time priority. Likewise; read as a hint.
    std::atomic<bool> raised{false};
    // The thread, if it cannot be committed any more. By others relaxed.
    std::atomic<ThreadId> unfit{0};
    // Guarded by mutex_.
    ThreadId thread = 0;      // Whose all this is.
    CoreId pinned = kNoCore;  // Where its affinity has it.
    bool spread = false;      // That is all of the enclave that it may use.
  };
  struct Core {
    int epoll = -1;
    int claim = -1;       // A socket whose name says that the CPU is ours.
    int wake = -1;        // An eventfd.
    ThreadId holder = 0;  // Who was granted it last. Guarded by mutex_.
    QueueId queue = kTracedNoQueue;
  };
  struct Queue {
    PriorityMutex lock;
    bool alive = false;
    int ring = -1;
    char* consumer = nullptr;  // One page.
    char* producer = nullptr;  // One page, then the data twice.
    uint64_t size = 0;
    uint32_t capacity = 0;
    uint64_t lost_seen = 0;
    bool lost_own = false;
    CoreId agent = kNoCore;
    std::deque<Message> own;  // Made here; at most `capacity`.
  };

  bool IsQueue(QueueId queue) const {
    return queue < queues_.size() && queues_[queue].alive;
  }
  void Close(QueueId queue);
  bool ReadRing(Queue& queue, Message& message);
  // Requires: `queue`'s lock.
  // Returns whom to wake.
  CoreId Post(QueueId queue, const Message& message);
  void NoteReceived(const Message& message);

  TracedThread* Find(ThreadId thread) const;
  StatusWord StatusOf(const TracedThread& thread, uint32_t index,
                      uint64_t state) const;
  CoreId CoreOfCpu(uint32_t cpu) const;
  CoreId Granted(uint32_t index, uint64_t state) const;
  Own& OwnOf(ThreadId thread);
  void Adopt(ThreadId thread);

  CommitResult CommitOne(const Transaction& transaction);
  bool HasIdleCore() const;
  CommitResult Grant(TracedThread& thread, Own& own, CoreId core);
  bool NoticeChanges(TracedThread& thread, Own& own);
  void Preempt(ThreadId thread);
  void Lower(ThreadId thread);

  Joining AddThread(pid_t process, pid_t tid, std::string& reason);
  std::string WhyNot(pid_t tid, const ThreadStat& stat,
                     const TracedSettings& settings) const;
  std::string Tame(pid_t tid, const TracedSettings& settings);
  bool Tell(TracedThread& thread, uint32_t index, MessageType type,
            const std::function<uint64_t(uint64_t)>& next);
  void Depart(TracedThread& thread, uint32_t index);

  const Options options_;
  uint64_t default_runtime_ = 0;
  uint64_t enclave_mask_[kTracedMaskWords] = {};
  std::unique_ptr<TracingObject> object_;
  std::unique_ptr<Guardian> guardian_;
  std::unique_ptr<Own[]> own_;  // By index.
  std::vector<Core> cores_;
  std::vector<Queue> queues_;
  PriorityMutex mutex_;  // Commits, and who joins and leaves.
  std::vector<CoreId>
      told_;  // Of preempted threads in this commit. Guarded by mutex_.
  std::atomic<uint64_t> received_{0};
  std::atomic<uint64_t> results_[kCommitResults] = {};
};

}  // namespace yamanote::native
