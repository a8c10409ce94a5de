// status.h - what can be told of the arbiter: who holds which core, and why.

#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "arbiter/allocator.h"
#include "yamanote/time.h"

namespace yamanote::arbiter {

// Why an application holds a core.
enum class Why : uint8_t {
  kHome,        // It is guaranteed.
  kWanted,      // Its policy wanted one more.
  kBestEffort,  // Nobody else wanted it.
  kAdopted,     // It held it before the arbiter was started.
};
std::string_view ToString(Why why);
std::string_view ToString(CoreState state);

struct HeldCore {
  CoreId core = 0;
  int cpu = 0;
  CoreState state = CoreState::kIdle;  // Of a home core: kIdle or kRunning.
  Why why = Why::kHome;
};

struct AppCounters {
  uint64_t grants = 0;
  uint64_t revocations = 0;
  uint64_t signals = 0;    // To workers that were late.
  uint64_t moves = 0;      // Of workers that did not leave.
  uint64_t no_shows = 0;   // Grants that no worker came for.
  uint64_t forgeries = 0;  // Words that contradict what was granted, ignored.
  uint64_t refusals = 0;   // What the system did not let the arbiter do.
};

struct AppStatus {
  std::string name;
  pid_t pid = 0;
  uid_t uid = 0;
  std::string policy;
  Limits limits{};
  bool opaque = false;
  bool wants = false;  // One more, in the last pass.
  std::vector<HeldCore> cores;
  AppCounters counters{};
};

struct PassTimes {
  uint64_t passes = 0;
  Duration total{0};
  Duration longest{0};
};

struct Status {
  std::vector<int> cpus;  // By core.
  unsigned guaranteed = 0;
  std::vector<AppStatus> apps;
  PassTimes times{};
};

}  // namespace yamanote::arbiter
