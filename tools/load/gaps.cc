// gaps.cc - how long a core of this machine is away all the time.

#include "tools/load/gaps.h"

#include <functional>
#include <thread>

#include "tools/load/pin.h"

namespace yamanote::load {
namespace {

using std::chrono::microseconds;

constexpr int64_t kOftenPerSecond = 50;
constexpr Duration kWatched = std::chrono::milliseconds(200);
constexpr Duration kStep = microseconds(10);

}  // namespace

Duration ThresholdAbove(std::vector<Gap> gaps, Duration watched) {
  const auto allowed =
      static_cast<size_t>(kOftenPerSecond * ToNanos(watched) / 1'000'000'000);
  if (gaps.size() <= allowed) return kLeastGapThreshold;
  const auto length = [](const Gap& gap) { return gap.end_ns - gap.start_ns; };
  const auto longest_common =
      gaps.begin() + static_cast<std::ptrdiff_t>(allowed);
  std::ranges::nth_element(gaps, longest_common, std::greater<>(), length);
  const Duration above(length(*longest_common));
  return std::clamp<Duration>((above / kStep + 1) * kStep, kLeastGapThreshold,
                              kMostGapThreshold);
}

Duration MeasureGapThreshold(int cpu) {
  GapLog log(ToNanos(kLeastGapThreshold));
  std::thread([&] {
    if (cpu >= 0) PinCurrentThread(cpu);
    const Instant start = Clock::now();
    for (Instant now = start; now - start < kWatched; now = Clock::now())
      log.Tick(ToNanos(now - start));
  }).join();
  return ThresholdAbove(log.gaps(), kWatched);
}

}  // namespace yamanote::load
