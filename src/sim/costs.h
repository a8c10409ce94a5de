// costs.h - what a simulated machine takes for what is not the requests' own work.
//
// All zero is the ideal. `yamanote doctor --costs` writes those of this machine.

#pragma once

#include "yamanote/time.h"

namespace yamanote::sim {

struct Costs {
  // A core goes from one task to another, or from none to one.
  Duration context_switch{0};
  // A preemption takes from the core that is preempted, beside the switch.
  Duration preempt_receiver{0};
  // It takes from a dedicated dispatcher, who asks for it. Where there is none, a core
  // that polls anyway asks.
  Duration preempt_sender{0};
  // A dedicated dispatcher takes for each task that it sends to a worker.
  Duration dispatch{0};
  // What one core writes, another sees after this: a task in a slot or an inbox, a
  // completion, a request to give way.
  Duration hop{0};
  // A thief takes for a task of another core.
  Duration steal{0};
  // Receiving a request and sending its reply take from the core that runs it, or, both
  // of them before it is placed, from a dedicated dispatcher.
  Duration network{0};
  // A core is given to an application, and taken from it.
  Duration core_grant{0};
  Duration core_revoke{0};
  // Of agents of native threads: reading a message, committing a transaction, and coming to
  // themselves when there is something to read.
  Duration message{0};
  Duration commit{0};
  Duration agent_wake{0};

  friend bool operator==(const Costs&, const Costs&) = default;
};

}  // namespace yamanote::sim
