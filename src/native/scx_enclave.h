// scx_enclave.h - an enclave by sched_ext: a ScxKernel, its agents' threads, who joins.
//
// A thread that joins gets the class SCHED_EXT, and of its affinity what the enclave has.
// It keeps its nice value. What it had is noted for the guardian (scx_guardian.h) first.
//
// Agents are threads with a real-time priority on their cores: above the enclave's threads
// and the fair ones.
//
// Thread safety: backend.h's.

#pragma once

#include <chrono>
#include <memory>

#include "native/backend.h"

namespace yamanote::native {

inline constexpr Duration kMostScxWatchdog = std::chrono::seconds(30);

// Errors: ScxKernel::Create()'s; kUnavailable: a CPU or the scheduler is another enclave's.
Result<std::unique_ptr<Backend>> MakeScxBackend(const BackendOptions& options);

}  // namespace yamanote::native
