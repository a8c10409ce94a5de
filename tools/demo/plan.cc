// plan.cc - cores, loads and times of a demo.

#include "tools/demo/plan.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sched.h>

#include <algorithm>
#include <cmath>

namespace yamanote::demo {
namespace {

using namespace std::chrono_literals;

constexpr double kLeastRps = 100;
constexpr double kMostRps = 20e6;
constexpr int kMostProbes = 20;
constexpr int kBisections = 3;
// What connecting, the last answers and accounting take, beside the window.
constexpr Duration kOverhead = 40ms;
constexpr Duration kWarmup = 60ms;
// Stalls of a virtual machine's cores are some milliseconds long and come once or
// twice a second: most runs this short have none, and the median is one of those.
constexpr Duration kShortestWindow = 150ms;
constexpr Duration kLongestWindow = 10s;
constexpr int64_t kMostRuns = 100;

std::string CpuList(const std::vector<int>& cpus) {
  return fmt::format("CPU{} {}", cpus.size() == 1 ? "" : "s",
                     fmt::join(cpus, ", "));
}

}  // namespace

std::string CpuLayout::ToText() const {
  if (shared) {
    return fmt::format(
        "server and generator share {}: "
        "there is no other, so the tails show both",
        CpuList(server));
  }
  return fmt::format("server on {}, load generator on {}", CpuList(server),
                     CpuList(generator));
}

std::vector<int> UsableCpus() {
  std::vector<int> cpus;
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(static_cast<size_t>(cpu), &set)) cpus.push_back(cpu);
  }
  return cpus;
}

Result<CpuLayout> PlanCpus(const std::vector<int>& usable,
                           unsigned server_cores) {
  if (usable.empty()) {
    return MakeError(ErrorCode::kInternal,
                     "the kernel does not say which CPUs may be used");
  }
  if (usable.size() == 1 && server_cores <= 1)
    return CpuLayout{usable, usable, true};
  const size_t cores = server_cores > 0     ? server_cores
                       : usable.size() >= 4 ? 2
                                            : 1;
  if (cores >= usable.size()) {
    return MakeError(
        ErrorCode::kInvalidArgument,
        fmt::format("--cores is {}, but {} CPU{} may be used and the load "
                    "generator needs one; the limit is {}",
                    cores, usable.size(), usable.size() == 1 ? "" : "s",
                    std::max<size_t>(1, usable.size() - 1)));
  }
  const auto split = usable.begin() + static_cast<std::ptrdiff_t>(cores);
  return CpuLayout{{usable.begin(), split}, {split, usable.end()}, false};
}

Result<double> FindCapacity(double start, const Sustains& sustains) {
  double low = 0;
  double high = 0;
  int probes = 0;
  for (double rps = std::clamp(start, kLeastRps, kMostRps);
       probes < kMostProbes; ++probes) {
    const Result<bool> sustained = sustains(rps);
    if (!sustained) return tl::unexpected(sustained.error());
    if (*sustained) {
      low = rps;
    } else {
      high = rps;
    }
    if ((low > 0 && high > 0) || low >= kMostRps) break;
    if (high > 0 && high <= kLeastRps) {
      return MakeError(
          ErrorCode::kUnavailable,
          fmt::format("not even {} requests per second are answered in time",
                      kLeastRps));
    }
    rps = low > 0 ? std::min(low * 2, kMostRps) : std::max(high / 2, kLeastRps);
  }
  for (int i = 0; i < kBisections && high > 0 && probes < kMostProbes;
       ++i, ++probes) {
    const double middle = std::sqrt(low * high);
    const Result<bool> sustained = sustains(middle);
    if (!sustained) return tl::unexpected(sustained.error());
    (*sustained ? low : high) = middle;
  }
  return low;
}

std::vector<double> PlanLoads(double capacity) {
  std::vector<double> loads;
  for (const double share : {0.05, 0.1, 0.2, 0.3, 0.45, 0.6, 0.8, 1.0, 1.1}) {
    const double exact = capacity * share;
    const double unit = std::pow(10, std::floor(std::log10(exact)) - 1);
    const double rounded = std::max(1.0, std::round(exact / unit) * unit);
    if (loads.empty() || rounded > loads.back()) loads.push_back(rounded);
  }
  return loads;
}

Duration PointTime::Total() const {
  return repeats * (window + warmup + kOverhead);
}

PointTime PlanTime(Duration left, size_t points) {
  const Duration each =
      left / static_cast<int64_t>(std::max<size_t>(1, points));
  constexpr Duration kShortest = kShortestWindow + kWarmup + kOverhead;
  const int64_t runs =
      std::clamp<int64_t>(each / kShortest, int64_t{kFewestRuns}, kMostRuns);
  return {.window = std::clamp(each / runs - kWarmup - kOverhead,
                               kShortestWindow, kLongestWindow),
          .warmup = kWarmup,
          .repeats = static_cast<unsigned>(runs)};
}

std::string FormatSeconds(Duration duration) {
  const auto seconds = (ToNanos(duration) + 500'000'000) / 1'000'000'000;
  if (seconds < 60) return fmt::format("{} s", seconds);
  return fmt::format("{} min {} s", seconds / 60, seconds % 60);
}

}  // namespace yamanote::demo
