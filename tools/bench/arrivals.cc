// arrivals.cc - draws exponential gaps, classes and service times.

#include "tools/bench/arrivals.h"

#include <fmt/format.h>

#include "base/random.h"

namespace yamanote::bench {

Result<std::vector<Arrival>> DrawArrivals(const load::Workload& workload,
                                          double rate_rps, Duration length,
                                          uint64_t seed) {
  const double expected = rate_rps * static_cast<double>(length.count()) / 1e9;
  if (expected < 1 || expected > static_cast<double>(kMostArrivals)) {
    return MakeError(
        ErrorCode::kInvalidArgument,
        fmt::format(
            "{:.0f} requests a second for {:.3g} s are {:.0f} requests; "
            "the limits are 1 and {}: change --seconds or --load",
            rate_rps, static_cast<double>(length.count()) / 1e9, expected,
            kMostArrivals));
  }
  base::Random random(seed);
  std::vector<Arrival> arrivals;
  arrivals.reserve(static_cast<size_t>(expected * 1.1) + 16);
  const double mean_gap_ns = 1e9 / rate_rps;
  const auto end = static_cast<double>(length.count());
  for (double at = random.Exponential(mean_gap_ns); at < end;
       at += random.Exponential(mean_gap_ns)) {
    const uint8_t request_class = workload.DrawClass(random);
    arrivals.push_back(
        {.at = Duration(static_cast<int64_t>(at)),
         .service_ns = workload.DrawService(request_class, random),
         .request_class = request_class});
  }
  return arrivals;
}

}  // namespace yamanote::bench
