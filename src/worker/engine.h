// engine.h - the runtime's shared parts: workers, placement, pools, parking.
//
// Declared as Runtime::Impl so that the public header shows none of it.

#pragma once

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "arbiter/client.h"
#include "dispatch/placement.h"
#include "preempt/timekeeper.h"
#include "worker/park.h"
#include "worker/registration.h"
#include "worker/stack_pool.h"
#include "worker/thread_pool.h"
#include "worker/wait.h"
#include "worker/worker.h"
#include "yamanote/runtime.h"

namespace yamanote::worker {

// What the net room does on a core beside running requests: replies that other
// cores produced, batches that wait to be sent.
class Pump {
 public:
  enum class Moment : uint8_t {
    kPass,  // Between tasks, every few microseconds.
    kIdle,  // There is nothing else to run: hold nothing back.
  };
  virtual ~Pump() = default;
  // On `core`'s worker, on the scheduler's stack: must not block; may Spawn.
  // `now` is exact. Returns true if it did something.
  virtual bool Run(CoreId core, Instant now, Moment moment) = 0;
  // As Run(), on another core's worker while `core` is held by a task: what
  // need not be done on `core` itself.
  virtual bool Help(CoreId core) = 0;
};

class Engine {
 public:
  // Requires: options are valid, `cpus` has one entry per worker. `asked`: what
  // options.preemption was before kAuto was resolved.
  // `client`: the arbiter whose cores these are; nullptr: they are its own.
  Engine(RuntimeOptions options, std::vector<int> cpus, Mechanism asked,
         std::unique_ptr<arbiter::Client> client = nullptr);
  // Maps the first memory and starts the workers; once. kResourceExhausted: the
  // system refuses memory or a kernel thread; then there are no workers.
  Result<void> Start();
  ~Engine();

  // Makes a blocked thread runnable. Any thread.
  void Resume(UserThread& thread);

  // Enqueues a new thread, whose block came from NewThread(). Any thread.
  void Launch(UserThread& thread);

  // Ends the life of a thread whose code has run: tells whoever joins it, or
  // frees the block, which must not be touched afterwards.
  void Complete(UserThread& thread);

  // Returns a block to fill, nullptr if max_threads are alive. Any thread.
  UserThread* NewThread();
  // Gives a block back. Any thread.
  void Free(UserThread& thread);

  // The one pump; set before the first request, unset with nullptr. The caller
  // ensures that no worker is inside the old one when it goes away:
  // SetPump(nullptr) waits for every worker to have passed.
  void SetPump(Pump* pump);
  // Makes sure that `core` runs the pump soon, even if it is about to sleep.
  // What the pump is to find comes first. Any thread.
  void AskForPump(CoreId core);
  // The same, and even if an arbiter has not granted the core: for what its worker must do
  // itself, once.
  void VisitCore(CoreId core);
  // Acquire; pairs with SetPump().
  Pump* pump() const { return pump_.load(std::memory_order_acquire); }

  bool stopping() const { return stopping_.load(std::memory_order_relaxed); }
  unsigned cores() const { return static_cast<unsigned>(workers_.size()); }
  Worker& worker(CoreId core) { return *workers_[core]; }
  const RuntimeOptions& options() const { return options_; }
  dispatch::Placement& placement() { return *placement_; }
  Parking& parking() { return parking_; }
  StackPool& stacks() { return stacks_; }
  ThreadPool& threads() { return threads_; }
  preempt::Timekeeper& timekeeper() { return timekeeper_; }
  // nullptr: the cores are its own.
  arbiter::Client* client() { return client_.get(); }
  // Placements are told the time: the order needs it, or the arbiter.
  bool wants_now() const {
    return placement_->clock_use() != ClockUse::kNone || timed_;
  }
  Mechanism mechanism() const { return mechanism_; }
  Mechanism asked_mechanism() const { return asked_mechanism_; }
  // nullptr: slices are fixed.
  preempt::AdaptiveSlice* adaptive() const { return adaptive_.get(); }
  RuntimeStats stats() const;

  // Takes `count` thread ids that nobody else gets; returns the first. Any
  // thread.
  uint64_t TakeIds(uint64_t count) {
    return next_id_.fetch_add(count, std::memory_order_relaxed);
  }

  // The process's engine, nullptr if there is none. Acquire: pairs with the
  // release in the constructor, so that who sees the pointer sees the engine.
  static Engine* Current() { return current_.load(std::memory_order_acquire); }

 private:
  // What the timekeeper may know. Not the engine itself: workers look while its
  // destructor, which would change what it is, waits for them.
  class Cores final : public preempt::Cores {
   public:
    explicit Cores(Engine& engine) : engine_(engine) {}
    uint64_t Progress(CoreId core) const override {
      return engine_.workers_[core]->reschedules();
    }
    bool Waits(CoreId core) const override;

   private:
    Engine& engine_;
  };

  void RunWorker(CoreId core, int cpu);
  void StopWorkers();
  Result<void> TellArbiter();

  static inline std::atomic<Engine*> current_{nullptr};
  static inline std::atomic<uint64_t> next_id_{1};

  const RuntimeOptions options_;
  const std::unique_ptr<arbiter::Client> client_;
  const bool timed_;  // An arbiter is shown how long tasks wait.
  const std::unique_ptr<dispatch::Placement> placement_;
  const Mechanism mechanism_;  // In use: never kAuto.
  const Mechanism asked_mechanism_;
  StackPool stacks_;
  ThreadPool threads_;
  Parking parking_;
  const Cores cores_{*this};
  const std::unique_ptr<preempt::AdaptiveSlice> adaptive_;
  preempt::Timekeeper timekeeper_;
  std::atomic<bool> stopping_{false};
  std::atomic<Pump*> pump_{nullptr};
  std::atomic<uint64_t> foreign_spawned_{0};
  const std::vector<int> cpus_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::vector<std::thread> kernel_threads_;
  // By core; 0: it has not begun. For the arbiter.
  std::unique_ptr<std::atomic<int>[]> tids_;
  std::unique_ptr<Registration> registration_;  // nullptr: there is no arbiter.
};

// Registers with the arbiter that `options` or the environment name; nullptr: there is
// none. Adapts options.scheduling to it.
Result<std::unique_ptr<arbiter::Client>> Register(RuntimeOptions& options);

// True if one core's tasks and events may be taken by another core.
bool WorkMoves(const Scheduling& scheduling, unsigned cores);

}  // namespace yamanote::worker

namespace yamanote {

class Runtime::Impl final : public worker::Engine {
 public:
  using Engine::Engine;
};

}  // namespace yamanote
