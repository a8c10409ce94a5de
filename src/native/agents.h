// agents.h - who schedules an enclave's threads: the policies' engine for native threads.
//
// Where cores share a queue one agent, the global one, decides for all of them: it commits
// with the threads' sequence numbers, in groups. Where each core has a queue, each has an
// agent, which decides for its core and commits with its own number. Both say when they
// want to be called though nothing happens: when a slice is over.
//
// An agent is driven by its back-end: the model calls Pass(), a real one's threads do.
//
// Source: Humphries et al., "ghOSt", SOSP 2021 (per-CPU and centralised agents, hand-off).

#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "base/core_set.h"
#include "native/kernel.h"
#include "native/siblings.h"
#include "yamanote/scheduling.h"

namespace yamanote::native {

class HintTable;

struct AgentOptions {
  Scheduling scheduling;
  // What threads say of themselves (hint_table.h); nullptr: nothing.
  HintTable* hints = nullptr;
  // An order that is in no list; nullptr: the one that `scheduling` names.
  const PolicyInfo* order = nullptr;
  // The global agent has a core of its own, on which it polls. Requires two cores.
  bool own_core = false;
  // How many messages may wait in a queue: 1 .. 2^20.
  uint32_t queue_capacity = 16384;
  // Which of `among`, not empty, is nearest to `from`: where the global agent goes when
  // somebody else wants its core. Not set: the lowest.
  std::function<CoreId(CoreId from, const base::CoreSet& among)> nearest;
  // At no time do two hyperthread siblings of a physical core run threads of different
  // trust domains, siblings.h. Requires placement central, a back-end that can, and:
  bool core_scheduling = false;
  // By core: a number that the siblings of a physical core share, base::Cpu::core.
  std::vector<uint32_t> siblings = {};
  // The trust domain of the thread with that number of the kernel's. Asked once for each.
  std::function<TrustDomain(int32_t tid)> trust = {};
  // Where the cores are, for the orders that use it. Empty: all in one place.
  std::vector<CoreLocality> locality{};
};

class Agents {
 public:
  virtual ~Agents() = default;

  // Agents for all threads that are in `kernel`'s enclave and for those that come. Errors
  // name the option, the value and the remedy: kInvalidArgument, or CreateQueue()'s. No
  // other agents may be alive.
  static Result<std::unique_ptr<Agents>> Create(Kernel& kernel,
                                                const AgentOptions& options,
                                                Instant now);

  // Lets `core`'s agent read, decide and commit; kNever: until it is woken; otherwise when
  // it is to be called at the latest. By that agent's thread; a global agent's `core`
  // does not matter.
  virtual Instant Pass(CoreId core, Instant now) = 0;

  // The cores that have an agent now.
  virtual std::vector<CoreId> Where() const = 0;

  // How long cores, all together, were left idle by core scheduling while threads waited;
  // until the last pass. Any of them counts, also those that may not run there. Default:
  // agents that know no trust domains leave none.
  virtual Duration ForcedIdle() const { return Duration::zero(); }
};

// Returns an error that names the key, the value, the limit and the remedy if native
// threads cannot be scheduled so on `cores` cores; otherwise what has the agents' choices
// filled in.
Result<Scheduling> ForNative(Scheduling scheduling, unsigned cores);

// How long until one looks again at what could not be committed, or not yet.
inline constexpr Duration kCommitRetry = std::chrono::microseconds(10);

}  // namespace yamanote::native
