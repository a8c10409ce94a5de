// scheduling.h - how a runtime schedules: the four independent choices.
//
// A scheduler is an order, a slice, a placement and a set of cores. A preset
// names a published combination; every part of it can be overridden. The same
// structure configures the runtime, the native engine and the simulator.

#pragma once

#include <chrono>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "yamanote/policy.h"
#include "yamanote/result.h"
#include "yamanote/time.h"

namespace yamanote {

// Which cores form a domain, and how work moves between domains.
enum class PlacementKind : uint8_t {
  kCentral,      // One domain for all cores (Shinjuku).
  kPartitioned,  // A domain per core, chosen by the flow's hash; work stays (IX).
  kStealing,     // As partitioned, and idle cores take from others (ZygOS).
  kTwoLevel,     // A domain per core, chosen by least load (Tiny Quanta).
};

// Who runs the dispatcher of a central placement. (Two-level placement balances
// on the core that enqueues.)
enum class DispatcherKind : uint8_t {
  kShared,     // Every worker takes from the one queue, under its lock.
  kDedicated,  // Core 0 dispatches and runs requests only when all slots are full.
  kAuto,       // Dedicated from kAutoDedicatedCores on, else shared.
};

// From this many cores on, one that only dispatches is worth its price.
inline constexpr unsigned kAutoDedicatedCores = 4;

// Which core sends the reply of a request that ran away from its home core.
enum class ReplyPath : uint8_t {
  kDirect,  // The core that ran it.
  kHome,    // The connection's home core (ZygOS's remote system call).
};

// How long slices are: fixed, `scheduling.slice = 10us`, or adapting to what the tasks
// are like, `scheduling.slice = kAdaptiveSlice` (docs/adr/0021-adaptive-slices.md).
struct SliceRange {
  Duration least = kNoPreemption;  // > 0.
  Duration most{0};                // More than `least`; 0: it is fixed.

  constexpr SliceRange() = default;
  template <typename Rep, typename Period>
  constexpr SliceRange(  // NOLINT(google-explicit-constructor): reads as a duration.
      std::chrono::duration<Rep, Period> fixed)
      : least(fixed) {}
  constexpr SliceRange(Duration from, Duration to) : least(from), most(to) {}

  constexpr bool Adapts() const { return most != Duration::zero(); }
  friend constexpr bool operator==(const SliceRange&,
                                   const SliceRange&) = default;
};

// Where it was measured (docs/adr/0024-the-default-adapts.md).
inline constexpr SliceRange kAdaptiveSlice{std::chrono::microseconds(2),
                                           std::chrono::microseconds(100)};

// By itself: one queue for all cores, first come, first served, no slices. What a
// runtime takes that is told nothing is DefaultScheduling().
struct Scheduling {
  std::string preset = "custom";  // Where the rest came from; informative.

  std::string order = "fifo";  // A name in Policies().
  SliceRange slice;
  Rejoin rejoin = Rejoin::kTail;

  PlacementKind placement = PlacementKind::kCentral;
  DispatcherKind dispatcher = DispatcherKind::kAuto;
  // Central with a dedicated dispatcher: tasks a worker may hold, running one
  // included. 1 is Shinjuku, 2 is Concord. 1 .. 16.
  unsigned slots = 1;
  // Two-level: whether an idle core takes work from the longest domain.
  bool steal = false;
  ReplyPath replies = ReplyPath::kDirect;

  // How many cores it wants where an arbiter hands them out: a name in CorePolicies().
  std::string allocation = "static";

  std::vector<ClassOptions> classes = {ClassOptions{}};
};

struct PresetInfo {
  std::string_view name;
  std::string_view summary;  // One line, naming the system it follows.
  Scheduling scheduling;
};

// Returns every preset, the default last.
std::span<const PresetInfo> Presets();

// Returns the preset called `name`; kNotFound lists the names there are.
Result<Scheduling> FindPreset(std::string_view name);

// The preset that a runtime and every command take unless they are told another.
inline constexpr std::string_view kDefaultPreset = "yamanote";

// Returns the preset kDefaultPreset.
Scheduling DefaultScheduling();

// The most cores a runtime has and the most slots a worker has.
inline constexpr unsigned kMaxCores = 256;
inline constexpr unsigned kMaxSlots = 16;

// Whether core 0 of `cores` is a dispatcher's. If not, `slots` has no effect.
bool HasDedicatedDispatcher(const Scheduling& scheduling, unsigned cores);

// Returns an error that names the key, the value, the limit and the remedy if
// the combination is impossible on `cores` cores, of which there are `most` at most.
Result<void> Validate(const Scheduling& scheduling, unsigned cores,
                      unsigned most = kMaxCores);

// The same where an arbiter hands out the cores, so that any of them may go at any time: a
// dispatcher that may be shared is. An error says why the combination cannot be.
Result<Scheduling> ForArbiter(Scheduling scheduling, unsigned cores);

std::string_view ToString(PlacementKind kind);
std::string_view ToString(DispatcherKind kind);
std::string_view ToString(ReplyPath path);
std::string_view ToString(Rejoin rejoin);

}  // namespace yamanote
