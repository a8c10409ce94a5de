// machine.h - several applications on one simulated machine, whose cores an arbiter moves.
//
// Each application with requests is an Engine of its own; one without is a batch program,
// which has work for every core and makes headway while it holds some. In every interval
// each application's core policy is asked, and the allocator grants and revokes, as in the
// daemon: the same objects (arbiter/allocator.h, yamanote/core_policy.h). What is left
// by its owner in between goes on at once.
//
// The arbiter itself costs no core here, and nothing it does takes time but Costs.

#pragma once

#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "arbiter/allocator.h"
#include "sim/costs.h"
#include "sim/engine.h"
#include "sim/source.h"
#include "yamanote/core_policy.h"

namespace yamanote::sim {

struct Application {
  arbiter::Limits limits{};
  // Its order, slice and placement, and how many cores it wants. Requires:
  // ForArbiter(scheduling, cores).
  Scheduling scheduling{};
  // nullptr, both: a batch program; `scheduling.allocation` says what it wants.
  Source* source = nullptr;
  Observer* observer = nullptr;
};

struct MachineOptions {
  unsigned cores = 1;
  Costs costs{};
  // How often policies are asked. > 0.
  Duration interval = std::chrono::microseconds(5);
  // How long a worker looks for work before it gives its core back, where the policy
  // lets it.
  Duration park_after = std::chrono::microseconds(2);
  CorePolicyOptions policies{};  // `cores` is set here.
  // By core, kNoCore: none; empty: none has one.
  std::vector<CoreId> siblings;
};

// What became of an application's cores.
struct Holding {
  // Core time from the grant until it was left.
  Duration held{0};
  // Of that, requests' own work.
  Duration used{0};
  uint64_t grants = 0;
  uint64_t revocations = 0;
  unsigned most = 0;  // That it held at a time.
};

class Machine {
 public:
  // Requires: the guarantees fit. The sources and observers outlive it.
  Machine(const MachineOptions& options, std::span<const Application> apps);
  ~Machine();

  // Runs until no source has more and everything is answered.
  void Run();

  // Of application number `app`.
  Holding holding(std::size_t app) const;
  const Engine* engine(std::size_t app) const;  // nullptr: a batch program.
  Instant now() const { return now_; }

  // Is told of every grant and of every core that is left, in order; for tests.
  struct Move {
    Instant at{};
    std::size_t app = 0;
    CoreId core = 0;
    bool granted = false;
  };
  void Record(std::vector<Move>* moves) { moves_ = moves; }

 private:
  class Owner;

  void Pass();
  void Apply();
  void Grant(std::size_t app, CoreId core);
  void Revoke(std::size_t app, CoreId core);
  void Gone(std::size_t app, CoreId core);

  struct Leaving {
    Instant at{};
    std::size_t app = 0;
    CoreId core = 0;
  };

  const Costs costs_;
  const Duration interval_;
  Instant now_{};
  Instant next_pass_{};
  arbiter::Allocator allocator_;
  std::vector<std::unique_ptr<Owner>> owners_;  // By AppId.
  // Cores of batch programs that have been revoked, in the order of time.
  std::deque<Leaving> leaving_;
  std::vector<Instant> granted_at_;  // By core.
  std::vector<CoreSample> samples_;
  std::vector<bool> fresh_;  // By core: granted since the last pass.
  std::vector<Move>* moves_ = nullptr;
};

}  // namespace yamanote::sim
