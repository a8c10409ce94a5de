// model.h - a kernel in virtual time: threads, cores and an enclave, the same every time.
//
// For tests, fuzzing and `sim --native`: agents run on it as on a real one, and it checks
// what a kernel would hold: a thread is on one core at a time, on one where it may be, and
// runs only if it can; and what agents promise: siblings run one trust domain. What agents do takes time, in which threads go on, so that whatever
// can come between reading and committing does come. Races can be made more likely.
//
// Threads do what their scripts say. Without agents for longer than Options::grace, or
// when a thread that can run has waited for Options::watchdog, the enclave is destroyed
// and the kernel's own scheduler runs all threads, in turn.
//
// One thread. Agents of several cores pass one after another; what happens to threads
// during a pass does so in the middle of it.

#pragma once

#include <deque>
#include <functional>
#include <queue>
#include <string>
#include <vector>

#include "base/core_set.h"
#include "base/random.h"
#include "native/agents.h"
#include "native/kernel.h"

namespace yamanote::native {

// What a thread does next.
struct Action {
  enum class Kind : uint8_t {
    kRun,    // Runs for `time`.
    kBlock,  // Blocks, and is woken after `time`; kNoPreemption: by Wake() alone.
    kYield,     // Gives way.
    kAffinity,  // May run on `cores` only; empty: anywhere.
    kWeight,    // Has `weight`.
    kDepart,    // Leaves the enclave.
    kExit,
  };
  Kind kind = Kind::kExit;
  Duration time{0};
  std::vector<CoreId> cores = {};
  uint16_t weight = 1;
};
// Called when the thread has done what came before, at `now`.
using Script = std::function<Action(Instant now)>;

struct ModelCosts {
  Duration receive = std::chrono::nanoseconds(30);  // A message.
  Duration commit = std::chrono::nanoseconds(300);  // A transaction.
  Duration group =
      std::chrono::nanoseconds(300);  // The system call around them.
  Duration interrupt =
      std::chrono::microseconds(2);  // Until another core switches.
  Duration change =
      std::chrono::nanoseconds(500);  // From one thread to the next.
  Duration wake_agent = std::chrono::microseconds(1);
};

class ModelKernel : public Kernel {
 public:
  struct Options {
    unsigned cores = 2;  // 1 .. 4096
    uint32_t max_threads = 1024;
    ModelCosts costs{};
    // The global agent polls: its core runs nothing else.
    bool agent_polls = false;
    // By core: a number that siblings share. If it is set the model looks at each step
    // whether those of a core run threads of one trust domain. Empty: there are none.
    std::vector<uint32_t> siblings = {};
    // Of 1000 wake-ups, those whose message comes before the thread can run.
    unsigned early_messages = 0;
    // How much longer than costs say things take: up to so many thousandths, at random.
    unsigned jitter = 0;
    uint64_t seed = 1;
    // kNoPreemption: none.
    Duration watchdog = kNoPreemption;
    Duration grace = std::chrono::milliseconds(10);
    Duration tick = kNoPreemption;
    // The agents crash in their n-th call of the kernel; 0: never.
    uint64_t crash_at = 0;
  };

  // How often what happened.
  struct Counts {
    uint64_t messages = 0;
    uint64_t lost_messages = 0;
    uint64_t results[kCommitResults] = {};
    uint64_t passes = 0;
    uint64_t calls = 0;  // Of agents.
    uint64_t switches = 0;
    uint64_t preemptions = 0;  // By other threads.
    uint64_t vacated = 0;      // Threads that gave way to nobody.
    // Steps after which siblings ran threads of two trust domains.
    uint64_t violations = 0;
  };

  explicit ModelKernel(const Options& options);
  ~ModelKernel() override = default;

  // ---- The machine

  // A new thread of the enclave, which can run at once, of trust domain `domain`. `parent`:
  // the number of who made it, 0: nobody that is known.
  ThreadId Spawn(Script script, uint64_t domain = 0, int32_t parent = 0);
  // Wakes one that is blocked; nothing otherwise.
  void Wake(ThreadId thread);
  // A higher class has `core` from `from` on, for `time`.
  void Occupy(CoreId core, Instant from, Duration time);
  // `agents` schedule from now on, nullptr: nobody does. They outlive the model or their
  // Detach().
  void Attach(Agents* agents);
  void RunUntil(Instant end);
  // Until all threads have ended, or `end`. Returns whether they have.
  bool RunUntilAllEnd(Instant end);

  Instant now() const { return now_; }
  bool destroyed() const { return destroyed_; }
  bool crashed() const { return crashed_; }
  // Why it was destroyed.
  const std::string& reason() const { return reason_; }
  uint32_t threads() const { return alive_; }
  const Counts& counts() const { return counts_; }
  // The first violation: who, where, when and the seed. Empty: there was none.
  const std::string& violation() const { return violation_; }
  // The trust domain of the thread that has that number; 0: there is none any more.
  uint64_t DomainOf(int32_t tid) const;
  // Where `thread` is; kNoCore: on none.
  CoreId WhereIs(ThreadId thread) const;
  // The longest that a thread that could run waited while the enclave was alive.
  Duration longest_wait() const { return longest_wait_; }

  // ---- Kernel
  unsigned cores() const override { return options_.cores; }
  uint32_t max_threads() const override { return options_.max_threads; }
  Result<QueueId> CreateQueue(uint32_t capacity) override;
  Result<void> DestroyQueue(QueueId queue) override;
  Result<void> ConfigureWake(QueueId queue, CoreId agent) override;
  Association Associate(ThreadId thread, QueueId queue,
                        uint32_t sequence) override;
  Result<void> AssociateCore(CoreId core, QueueId queue) override;
  bool Receive(QueueId queue, Message& message) override;
  bool Overflowed(QueueId queue) override;
  void Detach() override;
  uint32_t AgentSequence(CoreId core) const override;
  bool Read(ThreadId thread, StatusWord& status) const override;
  void ForEachThread(
      const std::function<void(const StatusWord&)>& visit) const override;
  bool MayRun(ThreadId thread, CoreId core) const override;
  bool Available(CoreId core) const override { return !cores_[core].busy; }
  std::string_view WhyNoCoreScheduling() const override { return {}; }
  void Commit(std::span<Transaction> group) override;
  void WakeAgent(CoreId core) override;
  void MoveAgent(CoreId from, CoreId to) override;

 private:
  static constexpr uint32_t kNobody = UINT32_MAX;
  static constexpr QueueId kNoQueue = UINT32_MAX;

  enum class State : uint8_t {
    kFree,  // No thread has this index.
    kBlocked,
    kRunnable,  // Waits to be committed.
    kLatched,   // Committed; its core is about to switch to it.
    kRunning,
  };

  struct ModelThread {
    State state = State::kFree;
    uint32_t generation = 0;
    uint32_t sequence = 0;
    QueueId queue = kNoQueue;
    CoreId core = kNoCore;  // Where it is, or last was.
    Script script;
    base::CoreSet affinity;
    uint16_t weight = 1;
    int32_t tid = 0;  // Never used again.
    int32_t parent = 0;
    uint64_t domain = 0;
    bool in_enclave = false;
    Duration left{0};  // Of what it runs.
    Duration ran{0};
    Instant runnable_since{};
    Instant visible_at{};  // Before that it is not runnable to a commit.
    uint64_t wake = 0;     // Its wake-up that is due.
  };

  struct ModelCore {
    uint32_t running = kNobody;
    uint32_t latched = kNobody;
    bool vacating = false;  // At the switch nobody takes its place.
    Instant since{};
    uint64_t version = 0;  // Of `running`'s end.
    uint64_t latch = 0;    // Of the switch.
    bool busy = false;
    bool has_agent = false;
    QueueId queue = kNoQueue;
    Instant next_pass = kNever;
    uint32_t agent_sequence = 0;
  };

  struct Queue {
    bool alive = false;
    uint32_t capacity = 0;
    CoreId wakes = kNoCore;
    bool overflowed = false;
    std::deque<Message> messages;
  };

  enum class What : uint8_t {
    kRunEnds,
    kSwitch,
    kWake,
    kBusy,
    kIdle,
    kPass,
    kWatchdog,
    kTick,
    kTurn,
    kGrace,
  };
  struct Event {
    Instant at{};
    uint64_t order = 0;
    What what = What::kPass;
    uint32_t index = 0;  // Of the core or the thread.
    uint64_t version = 0;
    bool operator>(const Event& other) const {
      return at != other.at ? at > other.at : order > other.order;
    }
  };

  ThreadId IdOf(uint32_t index) const {
    return uint64_t{threads_[index].generation} << 32 | index;
  }
  const ModelThread* Find(ThreadId thread) const;
  void At(Instant at, What what, uint32_t index, uint64_t version = 0);
  void Step(const Event& event);
  void Do(const Event& event);
  void Elapse(Duration time);
  void Call();
  void Pass(CoreId core);
  void SchedulePass(CoreId core, Instant at);
  void Post(QueueId queue, const Message& message);
  void PostThread(uint32_t index, MessageType type);
  void PostCore(CoreId core, MessageType type);
  StatusWord StatusOf(uint32_t index) const;

  void RunScript(uint32_t index);
  void BecomeRunnable(uint32_t index, MessageType type);
  void Begin(CoreId core, uint32_t index);
  void Account(CoreId core);
  void TakeOff(CoreId core);
  void Preempt(CoreId core);
  void Unlatch(CoreId core);
  void Switch(CoreId core);
  CommitResult CommitOne(const Transaction& transaction);
  CommitResult Vacate(CoreId core);
  void Latch(CoreId core);
  void CheckTrust();
  void Remove(uint32_t index, MessageType type);
  void Free(uint32_t index);
  void Destroy(std::string reason);
  void FallBack(CoreId core);
  void EndWait(const ModelThread& thread);
  Duration Jittered(Duration time);

  const Options options_;
  base::Random random_;
  Instant now_{};
  uint64_t next_order_ = 0;
  uint64_t next_version_ = 0;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  std::vector<ModelThread> threads_;
  std::vector<uint32_t> free_;
  int32_t last_tid_ = 0;
  std::vector<ModelCore> cores_;
  std::vector<Queue> queues_;
  QueueId new_threads_ = kNoQueue;
  Agents* agents_ = nullptr;
  uint64_t absence_ = 0;      // Which one: agents have come and gone.
  CoreId passing_ = kNoCore;  // Whose agent passes now.
  std::vector<Event> deferred_;
  bool destroyed_ = false;
  bool crashed_ = false;
  std::string reason_;
  std::string violation_;
  uint32_t alive_ = 0;
  std::deque<uint32_t> fallback_;  // Runnable, with the kernel's own scheduler.
  Duration longest_wait_{0};
  mutable Counts counts_;
};

}  // namespace yamanote::native
