// plan.h - decides cores, loads and times of a demo; measures nothing itself.

#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "yamanote/result.h"
#include "yamanote/time.h"

namespace yamanote::demo {

// Which CPUs serve and which generate load.
struct CpuLayout {
  std::vector<int> server;
  std::vector<int> generator;
  bool shared = false;  // Both use the same CPUs: there is only one.
  // For people: "server on CPU 0, generator on CPU 1".
  std::string ToText() const;
};

// Returns the CPUs that this process may use, ascending.
std::vector<int> UsableCpus();

// Splits `usable`. `server_cores` 0 decides itself: two of four and more, else
// one. kInvalidArgument if nothing is left for the generator, unless there is
// only one CPU, which both then share.
Result<CpuLayout> PlanCpus(const std::vector<int>& usable,
                           unsigned server_cores);

// Returns whether a load of `rps` was sustained.
using Sustains = std::function<Result<bool>(double rps)>;

// Searches the highest sustained load, within about 10%: doubles (or halves)
// from `start`, then bisects. At most 20 calls. kUnavailable if not even 100
// requests per second are sustained.
Result<double> FindCapacity(double start, const Sustains& sustains);

// The loads to measure, ascending, two significant digits: from a twentieth
// of `capacity` to a tenth beyond it.
std::vector<double> PlanLoads(double capacity);

// Of each point, however little time there is.
inline constexpr uint64_t kFewestRuns = 3;

// How long each point is measured.
struct PointTime {
  Duration window{};  // Of each run.
  Duration warmup{};
  unsigned repeats = 1;
  Duration Total() const;  // With what connecting and draining take.
};

// Divides `left` between `points`: many short runs first, then longer ones. Never
// less than kFewestRuns each, which the demo's least `--seconds` allows for.
PointTime PlanTime(Duration left, size_t points);

// "2 min 5 s", "48 s".
std::string FormatSeconds(Duration duration);

}  // namespace yamanote::demo
