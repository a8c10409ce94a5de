// driver.h - gives each agent a thread of its own and lets it run when it must.
//
// One real-time thread for each agent that there is, on its core, above the threads that
// the agents commit. It sleeps until its queue has something or the instant that its last
// pass named; an agent that has a core of its own polls instead.
//
//   Driver::Start() ... [agents schedule] ... Stop(), or the host says that it is over
//
// Real-time throttling stays as the machine has it: a polling agent leaves its core to
// others for 5% of each second on kernels that throttle.
//
// Thread safety: one thread.

#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "native/agents.h"
#include "native/kernel.h"

namespace yamanote::native {

// What a back-end whose agents are threads has beside Kernel. Called by the agents'
// threads. `agent`: the core that an agent began on, by which it is known.
class AgentHost {
 public:
  virtual ~AgentHost() = default;

  // Returns when `core`'s agent is to look: there are messages, or WakeAgent(). Or after
  // `most`, or when it has ended. By that agent's thread.
  virtual void Wait(CoreId core, Duration most) = 0;
  // The calling thread is an agent from now on: where it must run, its priority.
  virtual Result<void> EnterAgent(CoreId agent) = 0;
  virtual void LeaveAgent(CoreId agent) = 0;
  // It begins a pass; it is about to sleep.
  virtual void AgentAwake(CoreId agent) = 0;
  virtual void AgentAsleep(CoreId agent) = 0;
  // Empty; or why agents can do nothing any more.
  virtual std::string Ended() const = 0;
};

class Driver {
 public:
  // Makes agents for `kernel` and starts them. `kernel` and `host`, which may be one
  // object, outlive the driver. Errors: Agents::Create()'s, EnterAgent()'s.
  static Result<std::unique_ptr<Driver>> Start(Kernel& kernel, AgentHost& host,
                                               const AgentOptions& options);
  ~Driver() { Stop(); }
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;

  // Ends the agents and waits for them. Again: nothing.
  void Stop();

  // A descriptor that becomes readable when the host has ended the agents.
  int ended_descriptor() const { return ended_; }
  // Empty, or why that was.
  std::string Ended() const { return host_.Ended(); }

  // How many passes there have been.
  uint64_t passes() const { return passes_.load(std::memory_order_relaxed); }

 private:
  Driver(Kernel& kernel, AgentHost& host, bool polls)
      : kernel_(kernel), host_(host), polls_(polls) {}
  void Run(CoreId agent);

  Kernel& kernel_;
  AgentHost& host_;
  const bool polls_;
  std::unique_ptr<Agents> agents_;
  std::vector<std::jthread> threads_;
  std::atomic<bool> stop_{false};
  std::atomic<uint64_t> passes_{0};
  int ended_ = -1;  // An eventfd.
};

}  // namespace yamanote::native
