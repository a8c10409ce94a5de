// enclave.h - the process that runs an enclave: `yamanote native run`.

#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "native/backend.h"
#include "yamanote/hints.h"
#include "yamanote/result.h"
#include "yamanote/scheduling.h"

namespace yamanote::tools {

inline constexpr unsigned kUsualThreads = 4096;
inline constexpr unsigned kMostThreads = 65536;

struct EnclaveSettings {
  std::string name;
  std::vector<unsigned> cpus;
  native::BackendKind backend = native::BackendKind::kAuto;
  Scheduling scheduling;  // ForNative()'s.
  bool own_core = false;
  unsigned max_threads = kUsualThreads;  // At a time. 1 .. kMostThreads.
  std::string program_class;             // A class's name; empty: the first.
  // How long a thread that can run may be on no CPU; kNoPreemption: for ever.
  Duration watchdog{};
};

// The order or the preset `policy`, made fit for native threads: `slice` "none", a duration,
// or "" for the usual one; `placement` as ToString() writes it, or "". Errors name the flag,
// the value and the remedy.
Result<Scheduling> NativeScheduling(const std::string& policy,
                                    const std::string& slice,
                                    const std::string& placement,
                                    const std::vector<ClassOptions>& classes,
                                    unsigned cores);

// The classes that `texts` name, each "NAME" or as ParseClass() reads it; none: one class.
Result<std::vector<ClassOptions>> NativeClasses(
    const std::vector<std::string>& texts);

// What a hint that was asked for in words is. `name`: a class, or empty for the first;
// `due`: a duration, or empty. Errors name the field, the value and the remedy.
Result<Hint> NativeHint(const std::vector<ClassOptions>& classes,
                        const std::string& name, int64_t weight,
                        const std::string& due);

// Runs `arguments`, if there are any, and schedules its threads and those of `pids` until it
// has ended; without, until all of these have, or a signal ends this. Signals that end this
// process are handed on to the program. Returns its exit status, or 0.
Result<int> RunEnclave(const EnclaveSettings& settings,
                       const std::vector<std::string>& arguments,
                       const std::vector<pid_t>& pids);

}  // namespace yamanote::tools
