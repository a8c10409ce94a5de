// schedule.cc - draws arrivals, classes, service times and connections.

#include "tools/load/schedule.h"

#include <fmt/format.h>

#include "base/random.h"
#include "tools/load/units.h"

namespace yamanote::load {
namespace {

// Independent streams: the n-th request has the same class and service time at
// every rate, which makes points of one seed comparable.
enum Stream : uint64_t {
  kArrivalStream,
  kClassStream,
  kServiceStream,
  kConnectionStream
};

}  // namespace

Result<Arrivals> Arrivals::Parse(std::string_view text) {
  Arrivals out;
  if (text == "poisson") return out;
  if (text == "fixed") {
    out.kind = Kind::kFixed;
    return out;
  }
  if (text.starts_with("burst:")) {
    const Result<double> size =
        ParseNumber(text.substr(6), "--arrivals burst:N: N", 1, 10'000);
    if (!size) return tl::unexpected(size.error());
    out.kind = Kind::kBurst;
    out.burst = static_cast<unsigned>(*size);
    return out;
  }
  return MakeError(
      ErrorCode::kInvalidArgument,
      fmt::format("--arrivals is '{}'; it must be poisson, fixed or "
                  "burst:N, for example burst:16",
                  text.substr(0, 40)));
}

Result<std::vector<std::vector<Sample>>> BuildSchedule(
    const ScheduleOptions& options, const Workload& workload) {
  const double expected =
      options.rate_rps * static_cast<double>(ToNanos(options.length)) / 1e9;
  if (expected > static_cast<double>(kMaxSamples)) {
    return MakeError(
        ErrorCode::kInvalidArgument,
        fmt::format("the run would send {:.0f} requests; at most {} are "
                    "recorded: shorten --duration or lower --rate",
                    expected, kMaxSamples));
  }
  base::Random arrivals(options.seed, kArrivalStream);
  base::Random classes(options.seed, kClassStream);
  base::Random services(options.seed, kServiceStream);
  base::Random connections(options.seed, kConnectionStream);
  const double interval = 1e9 / options.rate_rps;
  const auto end = static_cast<double>(ToNanos(options.length));

  std::vector<std::vector<Sample>> threads(options.threads);
  for (auto& samples : threads) {
    samples.reserve(static_cast<size_t>(expected * 1.1 / options.threads) + 64);
  }
  double at = 0;
  uint64_t count = 0;
  while (true) {
    if (options.arrivals.kind == Arrivals::Kind::kFixed) {
      at = interval * static_cast<double>(count);
    } else {
      at += arrivals.Exponential(interval * options.arrivals.burst);
    }
    if (at >= end || count >= 2 * kMaxSamples) break;
    for (unsigned i = 0; i < options.arrivals.burst; ++i, ++count) {
      Sample sample;
      sample.intended_ns = static_cast<int64_t>(at);
      sample.request_class = workload.DrawClass(classes);
      sample.service_ns =
          workload.application() == Application::kSpin
              ? workload.DrawService(sample.request_class, services)
              : static_cast<uint32_t>(services());
      sample.connection =
          static_cast<uint16_t>(options.arrivals.kind == Arrivals::Kind::kFixed
                                    ? count % options.connections
                                    : connections.Below(options.connections));
      threads[sample.connection % options.threads].push_back(sample);
    }
  }
  if (count == 0) {
    return MakeError(
        ErrorCode::kInvalidArgument,
        fmt::format("no request is due in {} at {} requests per second: "
                    "raise --rate or --duration",
                    FormatTime(options.length), FormatRate(options.rate_rps)));
  }
  return threads;
}

}  // namespace yamanote::load
