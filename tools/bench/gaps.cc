// gaps.cc - reads the log of probe_log.S.

#include "tools/bench/gaps.h"

#include <x86intrin.h>

#include <algorithm>
#include <chrono>
#include <vector>

namespace yamanote::bench {
namespace {

// As probe_log.S knows it. Times are the processor's time-stamps.
struct ProbeLog {
  uint32_t* next = nullptr;
  uint32_t* end = nullptr;
  uint64_t last = 0;
};

extern "C" {
[[gnu::tls_model(
    "initial-exec")]] extern thread_local unsigned char yamanote_bench_flag;
extern ProbeLog yamanote_bench_log;
void yamanote_bench_probes(uint64_t count);
}

constexpr size_t kMostGaps = size_t{1} << 21;
// A part of a run is enough: with the log it takes several times as long.
constexpr uint64_t kShorter = 5;

double TicksPerNanosecond() {
  using Watch = std::chrono::steady_clock;
  const auto start = Watch::now();
  const uint64_t first = __rdtsc();
  auto now = start;
  while (now - start < std::chrono::milliseconds(10)) now = Watch::now();
  const uint64_t last = __rdtsc();
  const std::chrono::nanoseconds took = now - start;
  return static_cast<double>(last - first) / static_cast<double>(took.count());
}

// The gaps of what `run` does, in ticks and in order of length.
template <typename Run>
std::vector<uint32_t> Log(std::vector<uint32_t>& room, const Run& run) {
  yamanote_bench_log = {
      .next = room.data(), .end = room.data() + room.size(), .last = __rdtsc()};
  yamanote_bench_flag = 1;
  run();
  yamanote_bench_flag = 0;
  std::vector<uint32_t> gaps;
  if (yamanote_bench_log.next != room.data())
    gaps.assign(room.data() + 1, yamanote_bench_log.next);
  std::ranges::sort(gaps);
  return gaps;
}

}  // namespace

Gaps MeasureGaps(const Kernel& kernel) {
  std::vector<uint32_t> room(kMostGaps);
  const std::vector<uint32_t> empty =
      Log(room, [] { yamanote_bench_probes(10'000); });
  const double own = empty[empty.size() / 2];
  const std::vector<uint32_t> gaps =
      Log(room, [&kernel] { kernel.run(1 + kernel.n / kShorter); });
  if (gaps.empty()) return {};
  const double per_ns = TicksPerNanosecond();
  const auto at = [&](double share) {
    const auto index =
        static_cast<size_t>(share * static_cast<double>(gaps.size() - 1));
    return std::max(gaps[index] - own, 0.0) / per_ns;
  };
  return {.count = gaps.size(),
          .p50_ns = at(0.5),
          .p99_ns = at(0.99),
          .p999_ns = at(0.999),
          .max_ns = at(1)};
}

}  // namespace yamanote::bench
