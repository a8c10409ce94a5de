// process.h - what `yamanote native` asks about processes, and its own place.

#pragma once

#include <sys/types.h>

#include <vector>

namespace yamanote::tools {

// Keeps this thread off the enclave's CPUs, where it would wait for its threads. If it may
// run nowhere else it stays.
void StandAside(const std::vector<unsigned>& cpus);

// Whether `uid` may have process `pid` scheduled: its own.
bool MayAttach(uid_t uid, pid_t pid);

}  // namespace yamanote::tools
