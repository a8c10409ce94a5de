// step.cc - a service's load steps from a tenth to four fifths of the machine and back,
// beside a batch program.
//
//   bench_papers_step
//
// 24 cores; requests of 10 us, exponential; 2 ms at load 0.1, 2 ms at 0.8, 400 times.
// The production core policies and allocator with Shenango's costs of moving a core
// (2.2 us to grant, 3.7 to revoke). By when requests come within those 4 ms, in buckets of
// 100 us: p99 and p99.9 of their latency, and the cores that the service holds. CSV.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <span>
#include <string_view>
#include <vector>

#include "base/random.h"
#include "sim/machine.h"

namespace {

using namespace yamanote;
using namespace std::chrono_literals;

constexpr unsigned kCores = 24;
constexpr Duration kHalf = 2ms;
constexpr Duration kPeriod = 2 * kHalf;
constexpr Duration kBucket = 100us;
constexpr std::size_t kBuckets = kPeriod / kBucket;
constexpr int kPeriods = 400;
constexpr double kLow = 0.1;
constexpr double kHigh = 0.8;
constexpr double kMeanNs = 10'000;

double LoadAt(Duration at) { return at % kPeriod < kHalf ? kLow : kHigh; }

class Steps final : public sim::Source {
 public:
  std::span<const sim::Arrival> NextFew() override {
    // Thinned from the high rate, so that the steps are exact.
    do {
      at_ += random_.Exponential(kMeanNs / (kHigh * kCores));
    } while (random_.Uniform() >= LoadAt(Duration(std::llround(at_))) / kHigh);
    const Duration at(std::llround(at_));
    if (at >= kPeriods * kPeriod) return {};
    arrival_ = {
        .at = Instant(at),
        .service = Duration(1 + std::llround(random_.Exponential(kMeanNs)))};
    return {&arrival_, 1};
  }

 private:
  base::Random random_{1};
  double at_ = 0;
  sim::Arrival arrival_{};
};

class Buckets final : public sim::Observer {
 public:
  void Finished(const sim::Arrival& arrival, Instant now) override {
    const Duration at = arrival.at.time_since_epoch() % kPeriod;
    latencies[static_cast<std::size_t>(at / kBucket)].push_back(now -
                                                                arrival.at);
  }
  void Refused(const sim::Arrival&) override { ++refused; }

  std::vector<std::vector<Duration>> latencies{kBuckets};
  uint64_t refused = 0;
};

// Mean cores held by application 0, by bucket.
std::vector<double> Held(const std::vector<sim::Machine::Move>& moves,
                         Instant end) {
  std::vector<double> held(kBuckets);
  unsigned cores = 0;
  Duration from{0};
  const auto until = [&](Duration to) {
    while (from < to) {
      const Duration next = std::min(to, (from / kBucket + 1) * kBucket);
      held[static_cast<std::size_t>(from % kPeriod / kBucket)] +=
          static_cast<double>((next - from).count()) * cores;
      from = next;
    }
  };
  for (const sim::Machine::Move& move : moves) {
    if (move.app != 0) continue;
    until(move.at.time_since_epoch());
    move.granted ? ++cores : --cores;
  }
  until(end.time_since_epoch());
  for (double& one : held)
    one /= static_cast<double>(kBucket.count()) * kPeriods;
  return held;
}

double Quantile(std::vector<Duration>& values, double q) {
  const auto at =
      values.begin() +
      static_cast<std::ptrdiff_t>(q * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), at, values.end());
  return static_cast<double>(at->count()) / 1000;
}

void Run(std::string_view allocation, Duration interval) {
  Scheduling scheduling = FindPreset("shenango").value();
  scheduling.allocation = allocation;
  Steps source;
  Buckets buckets;
  std::vector<sim::Application> apps;
  apps.push_back({.limits = {.most = kCores},
                  .scheduling = scheduling,
                  .source = &source,
                  .observer = &buckets});
  // With all cores for ever there is nobody else.
  if (allocation != "static")
    apps.push_back({.limits = {.most = kCores, .best_effort = true}});
  sim::Machine machine({.cores = kCores,
                        .costs = {.core_grant = 2200ns, .core_revoke = 3700ns},
                        .interval = interval},
                       apps);
  std::vector<sim::Machine::Move> moves;
  machine.Record(&moves);
  machine.Run();
  const std::vector<double> held = Held(moves, machine.now());
  for (std::size_t i = 0; i < kBuckets; ++i) {
    std::printf("%.*s,%lld,%lld,%.1f,%.3f,%.3f,%.3f,%llu\n",
                static_cast<int>(allocation.size()), allocation.data(),
                static_cast<long long>(interval / 1us),
                static_cast<long long>(i * kBucket / 1us),
                LoadAt(static_cast<int64_t>(i) * kBucket) * kCores, held[i],
                Quantile(buckets.latencies[i], 0.99),
                Quantile(buckets.latencies[i], 0.999),
                static_cast<unsigned long long>(buckets.refused));
  }
}

}  // namespace

int main() {
  std::printf(
      "allocation,interval_us,since_us,offered_cores,cores_held,p99_us,"
      "p999_us,refused\n");
  Run("static", 5us);
  Run("congestion", 5us);
  Run("congestion", 100us);
  Run("delay", 5us);
  Run("delay", 10us);
  Run("delay-range", 5us);
  Run("utilization-range", 5us);
  return 0;
}
