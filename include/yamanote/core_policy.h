// core_policy.h - decides whether an application needs more cores or fewer; never which.
//
// One CorePolicy serves one application. The arbiter (or the simulator) asks it once in
// every interval and shows it what the application's queues were like. Which core comes
// or goes, and who gives it, is the same under all policies (src/arbiter/allocator.h).
// So a policy takes no lock, reads no clock, does no I/O and allocates nothing after
// construction.
//
//   queues, every interval -> Decide -> allocator -> grant | revoke
//
// To write one: one file in src/arbiter, one test, one entry in core_policies.cmake.

#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "yamanote/task.h"
#include "yamanote/time.h"

namespace yamanote {

// What an application shows of one core: of the queue that belongs to it, and of the
// worker that looks after it. Where cores share a queue it is shown with the first. The
// application counts, so it may be wrong; that harms nobody else.
struct CoreSample {
  CoreId core = 0;
  uint32_t enqueued = 0;  // Tasks that joined the queue so far; wraps.
  uint32_t taken = 0;     // Tasks that left it so far; wraps.
  Duration oldest{0};     // How long the oldest has waited; 0 if none does.
  Duration idle{0};  // Time in which the core was held and had no task, so far.
  bool held = false;     // The application has the core.
  bool looking = false;  // It has it, and nothing to run there.
  bool fresh = false;    // It was granted after the last Decide().

  uint32_t Waiting() const { return enqueued - taken; }
};

struct AppSample {
  // Each once, in their order: those that it has or is about to, those where something
  // waits or has just been, and some of the others in turn. So that a pass does not cost
  // applications times cores, the rest is not looked at.
  std::span<const CoreSample> cores;
  unsigned held = 0;    // Cores that the application has.
  Duration elapsed{0};  // Since the last Decide(). > 0.
};

enum class Wish : uint8_t {
  kFewer,  // One that has nothing to run may go.
  kSame,
  kMore,  // One more.
};

// What every core policy is built from; each reads what concerns it.
struct CorePolicyOptions {
  unsigned cores = 1;  // Of the machine, >= 1.
  // `delay`: how long a task may wait before another core is wanted.
  Duration delay = std::chrono::microseconds(10);
  // `delay-range`: the mean over the cores held of how long the oldest has waited.
  Duration delay_low = std::chrono::microseconds(1);
  Duration delay_high = std::chrono::microseconds(4);
  // `utilization-range`: the share of the cores' time that they run tasks.
  double utilization_low = 0.75;
  double utilization_high = 0.95;
};

class CorePolicy {
 public:
  virtual ~CorePolicy() = default;

  // Returns what the application should have beside what it has. Budget: 10 ns for each
  // core shown.
  virtual Wish Decide(const AppSample& sample) = 0;

 protected:
  // Where nobody looks, whatever waits needs a core at once.
  static bool Stranded(const AppSample& sample) {
    if (sample.held != 0) return false;
    for (const CoreSample& core : sample.cores) {
      if (core.Waiting() != 0) return true;
    }
    return false;
  }
};

// What `yamanote policies` prints and what the engine must know beforehand.
struct CorePolicyInfo {
  std::string_view name;     // As written in the configuration: "delay-range".
  std::string_view summary;  // One line: the rule.
  std::string_view good_at;  // One line: when to use it.
  std::string_view bad_at;   // One line: when not.
  std::string_view source;   // Author, title, year.
  // A worker that has found nothing for a while gives its core back by itself; otherwise
  // it looks on until the policy wants fewer.
  bool parks = true;
  // CoreSample::oldest is read: the application must read the clock for each task.
  bool reads_oldest = false;
  std::unique_ptr<CorePolicy> (*make)(const CorePolicyOptions&) = nullptr;
};

// Returns every core policy of this build, in the order of
// src/arbiter/core_policies.cmake.
std::span<const CorePolicyInfo* const> CorePolicies();

// Returns the core policy called `name`, nullptr if there is none.
const CorePolicyInfo* FindCorePolicy(std::string_view name);

}  // namespace yamanote
