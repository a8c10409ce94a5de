// model_crash.h - how a modelled agent dies in the middle of what it does.

#pragma once

namespace yamanote::native {

// Thrown through the agent's frames, which are not to catch it: no destructor of an agent
// may rely on the kernel then.
struct ModelCrash {};

}  // namespace yamanote::native
