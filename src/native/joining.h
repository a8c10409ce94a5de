// joining.h - a process' threads join an enclave, whichever back-end is behind it.

#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "native/backend.h"
#include "native/settings.h"

namespace yamanote::native {

enum class Joining : uint8_t { kJoined, kThere, kRefused, kFull };
// One thread; says why it is refused.
using JoinThread =
    std::function<Joining(pid_t process, pid_t tid, std::string& reason)>;

// Backend::Add(): joins the threads of `pid` until a listing has nobody new.
Result<Backend::Joined> JoinProcess(pid_t pid, pid_t guardian,
                                    uint32_t max_threads,
                                    const JoinThread& join);

std::vector<pid_t> ThreadsOf(pid_t process);

// Of what follows the command's name in /proc/PID/task/TID/stat.
struct ThreadStat {
  char state = 0;
  uint64_t flags = 0;
  uint64_t start = 0;
};
// False: there is none.
bool ReadStat(pid_t process, pid_t tid, ThreadStat& stat);

// Why a thread cannot be of an enclave that has the CPUs `mask`; empty: it can.
std::string WhyNotJoin(const ThreadStat& stat, const TracedSettings& settings,
                       const uint64_t (&mask)[kTracedMaskWords]);

}  // namespace yamanote::native
