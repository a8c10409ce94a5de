// claims.h - what only one enclave of the machine can have: a CPU, the sched_ext scheduler.
//
// A claim is a socket with a name that only a living process can have. It ends with its
// last descriptor and leaves nothing behind.

#pragma once

#include <sys/types.h>

#include <vector>

#include "yamanote/result.h"

namespace yamanote::native {

// The enclave's CPUs are there, below `limit`, and each is named once. Errors:
// kInvalidArgument.
Result<void> CheckCpus(const std::vector<unsigned>& cpus, unsigned limit);

// Two enclaves on a CPU would keep one another from it. Returns a descriptor. Errors:
// kUnavailable: it is another's; kResourceExhausted.
Result<int> ClaimCpu(unsigned cpu);

// Likewise. The error names the process that has it.
Result<int> ClaimScx();
// That process; 0: none has it.
pid_t ScxHolder();

}  // namespace yamanote::native
