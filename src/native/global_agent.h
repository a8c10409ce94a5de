// global_agent.h - the constructor behind Agents::Create().

#pragma once

#include "native/agents.h"

namespace yamanote::native {

// Requires: what Agents::Create() checks.
Result<std::unique_ptr<Agents>> MakeGlobalAgent(Kernel& kernel,
                                                const AgentOptions& options,
                                                Instant now);

}  // namespace yamanote::native
