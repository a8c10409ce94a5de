// guardian.h - a process of its own that sets threads free when their agents fail.
//
// It is forked before anything is changed, has its own session and a higher priority than
// the agents, and sees each thread's original settings in the memory that the BPF
// programs share. It keeps those programs attached until it is done, so that it sees
// every child that is forked meanwhile, and a thread's number is not used again unseen.
//
//   watching -> the agents' process has ended              -> restores, ends
//            -> asked to: Stop()                           -> restores, ends
//            -> a thread has waited, or an agent has been
//               awake, for too long: *stops* the agents    -> restores, ends
//
// Stopping: it says so; commits that begin later do nothing; it waits for those under
// way, and takes the agents' priority from them. If they never finish it restores again
// and again until they do or their process ends.
//
// Thread safety: Start() and Stop() by one thread, the rest by any.

#pragma once

#include <sys/types.h>

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "native/tracing_object.h"
#include "yamanote/task.h"
#include "yamanote/time.h"

namespace yamanote::native {

class Guardian {
 public:
  struct Options {
    uint32_t max_threads = 0;
    unsigned cores = 0;
    unsigned priority = 3;
    // How long a thread that can run may be on no CPU; kNoPreemption: for ever.
    Duration watchdog{};
    // How long an agent may be awake without a sleep or a new pass.
    Duration agent_limit{};
    // The enclave's. Who is raised and has moved itself elsewhere is lowered.
    std::vector<unsigned> cpus{};
  };

  // Errors: kPermissionDenied: no real-time priority is to be had here; kInternal.
  static Result<std::unique_ptr<Guardian>> Start(const TracingObject& object,
                                                 const Options& options);
  ~Guardian() { Stop(); }
  Guardian(const Guardian&) = delete;
  Guardian& operator=(const Guardian&) = delete;

  // Makes it restore all threads, and waits for that. Again: nothing.
  void Stop();

  pid_t pid() const { return pid_; }
  // A pidfd: readable when it has ended.
  int descriptor() const { return descriptor_; }
  // Empty while it watches; otherwise why it does not any more.
  std::string Ended() const;

  // Around each commit; false: the agents were stopped.
  bool BeginCommit();
  void EndCommit();

  // The calling thread is an agent from now on, and until it leaves.
  void Enter(CoreId agent);
  void Leave(CoreId agent);
  // It begins a pass now, or sleeps.
  void Awake(CoreId agent);
  void Asleep(CoreId agent);

 private:
  enum Phase : uint32_t { kWatching, kAsked, kStopped };
  enum Reason : uint32_t { kNone, kThreadWaited, kAgentStuck };
  struct alignas(64) Agent {
    std::atomic<int32_t> tid{0};
    std::atomic<uint64_t> awake_since_ns{0};  // 0: it sleeps.
  };
  // In memory that both processes map.
  struct Shared {
    std::atomic<uint32_t> phase{kWatching};
    std::atomic<uint32_t> committing{0};
    std::atomic<uint32_t> reason{kNone};
    std::atomic<int32_t> about{0};  // The thread or the agent.
    std::atomic<uint64_t> waited_ns{0};
  };
  struct Child;

  Guardian() = default;
  Agent& agent(CoreId core) { return agents_[core]; }

  Shared* shared_ = nullptr;
  Agent* agents_ = nullptr;
  std::size_t bytes_ = 0;
  pid_t pid_ = -1;
  int descriptor_ = -1;
  int asked_ = -1;  // An eventfd.
};

// Gives every thread of `threads` and every stray back what it had. `restored`: by index,
// whom that was done for. Returns how many it had not been. No locks, no allocation.
unsigned RestoreThreads(TracedThread* threads, uint32_t max_threads,
                        TracedStray* strays, uint64_t* restored);

}  // namespace yamanote::native
