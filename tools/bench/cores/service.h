// service.h - a latency-critical service, and who sends it requests: two processes.
//
// The service is a server on a UDP port of this machine; a request says how much work it
// is, and is answered where the service writes down when it was done, not over the socket,
// so that the clients take no processor time for replies. The generator has a CPU of its
// own and polls, or it shares those of the service; then it sleeps between two arrivals,
// and the kernel prefers it (SCHED_FIFO), so that requests come when they are due whoever
// has the CPUs. A latency counts from when the request was sent: what the generator was
// late is not the scheduler's, and is reported beside it.

#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "tools/bench/arrivals.h"
#include "tools/bench/cores/child.h"
#include "yamanote/runtime.h"
#include "yamanote/scheduling.h"

namespace yamanote::bench {

struct GeneratorPlan {
  int cpu = -1;             // Its own; -1: it shares `shared`.
  std::vector<int> shared;  // The service's.
};

struct ServicePlan {
  std::vector<int> cpus;  // Where no arbiter hands them out.
  ArbiterOptions arbiter;
  Scheduling scheduling;
  GeneratorPlan generator;
  std::vector<Arrival> arrivals;
  double steps_per_us = 0;  // Of work: Calibrate().
};

// Written by both processes, and read when they are done.
struct Outcome {
  std::atomic<int64_t> sent_ns;     // After the start; 0: it was not.
  std::atomic<int64_t> latency_ns;  // 0: it was not answered.
};

class ServiceProcess {
 public:
  // Forks both, and waits until they could begin. Errors as Runtime::Create() and
  // Server::Start().
  static Result<std::unique_ptr<ServiceProcess>> Start(ServicePlan plan);

  // Requests come from then on, on Clock.
  void Go(Instant start);
  // Until every request was answered, or given up. kUnavailable: one of them died.
  Result<void> Wait();

  struct Answer {
    Duration sent{0};     // After the start.
    Duration latency{0};  // Duration::max(): never.
  };
  // By arrival. After Wait().
  std::vector<Answer> answers() const;

  Duration generator_late_p99() const {
    return Duration(state_->generator_late_p99_ns);
  }
  // Whether it has a CPU of its own, or the kernel prefers it.
  bool generator_prompt() const { return state_->prompt; }
  // What the service was granted so far.
  uint64_t grants() const { return state_->grants.load(); }
  // Of both, where the generator shares the service's CPUs.
  Duration Cpu() const {
    return server_.Cpu() +
           (plan_.generator.cpu < 0 ? generator_.Cpu() : Duration::zero());
  }

 private:
  enum class Phase : uint32_t { kStarting, kReady, kDone, kFailed };

  struct State {
    // Release and acquire, both: with them goes what else is written here.
    std::atomic<Phase> server;
    std::atomic<Phase> generator;
    std::atomic<int64_t> go_ns;
    std::atomic<uint64_t> answered;
    std::atomic<uint64_t> grants;
    int port;
    ErrorCode code;
    char error[512];
    int64_t generator_late_p99_ns;
    bool prompt;
  };

  class Handler;

  explicit ServiceProcess(ServicePlan plan)
      : plan_(std::move(plan)), outcomes_(plan_.arrivals.size() + 1) {}
  Result<void> Serve();
  Result<void> Generate();
  int Finish(std::atomic<Phase>& phase, const Result<void>& result);
  static Result<void> Await(Child& child, const std::atomic<Phase>& phase,
                            const State& state);

  const ServicePlan plan_;
  SharedObjects<State> state_;
  SharedObjects<Outcome> outcomes_;
  Child server_;  // Both end before the memory goes.
  Child generator_;
};

// Steps of Work() in a microsecond.
double Calibrate();

// Sleeps, then polls, until `due`; nothing waits so precisely on its own.
void SleepUntil(Instant due);

}  // namespace yamanote::bench
