// changing.cc - lays periods over each other, and compares.

#include "tools/bench/cores/changing.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "tools/bench/cores/slice.h"

namespace yamanote::bench {
namespace {

using namespace std::chrono_literals;

// What counts as normal again.
constexpr double kNormal = 1.5;

unsigned RoundsOf(const CoresOptions& options) {
  return static_cast<unsigned>(
      std::max<int64_t>(options.length / options.round, 1));
}

// Answers of one way, all rounds, by the phase of the period in which they arrived.
class Periods {
 public:
  explicit Periods(Duration period)
      : buckets_(static_cast<size_t>(period / kBucket)) {}

  void Add(const std::vector<ServiceProcess::Answer>& answers) {
    const int64_t period =
        static_cast<int64_t>(buckets_.size()) * ToNanos(kBucket);
    for (const ServiceProcess::Answer& answer : answers) {
      buckets_[static_cast<size_t>(ToNanos(answer.sent) % period /
                                   ToNanos(kBucket))]
          .push_back(answer);
    }
  }

  size_t size() const { return buckets_.size(); }

  base::Histogram Between(size_t first, size_t last) const {
    base::Histogram all;
    for (size_t i = first; i < last; ++i) all.Merge(LatencyOf(buckets_[i]));
    return all;
  }

  // How long after bucket `begin` the p99 of `window` buckets is normal, before `end`.
  double BackToNormal(size_t begin, size_t end, size_t window,
                      double normal_ns) const {
    for (size_t i = begin; i + window <= end; ++i) {
      if (Between(i, i + window).Quantile(0.99) <= kNormal * normal_ns)
        return static_cast<double>(i - begin) *
               static_cast<double>(ToNanos(kBucket)) / 1000;
    }
    return std::numeric_limits<double>::infinity();
  }

 private:
  std::vector<std::vector<ServiceProcess::Answer>> buckets_;
};

StepWay StepSummary(Way way, const Periods& periods) {
  const size_t all = periods.size();
  const size_t down = all / 2;
  const double high = periods.Between(down / 2, down).Quantile(0.99);
  const double low = periods.Between(down + down / 2, all).Quantile(0.99);
  StepWay step{.way = way,
               .high_p99_us = high / 1000,
               .low_p99_us = low / 1000,
               .up_us = periods.BackToNormal(0, down, 500us / kBucket, high),
               .down_us = periods.BackToNormal(down, all, 2ms / kBucket, low)};
  for (size_t i = 0; i < all; ++i) {
    const base::Histogram bucket = periods.Between(i, i + 1);
    step.buckets.push_back({.requests = bucket.count(),
                            .p50_us = bucket.Quantile(0.5) / 1000,
                            .p99_us = bucket.Quantile(0.99) / 1000});
  }
  return step;
}

}  // namespace

Result<std::vector<StepLoad>> RunSteps(const CoresOptions& options) {
  const Result<load::Workload> workload = ParseService(options.service);
  if (!workload) return tl::unexpected(workload.error());
  std::vector<Way> ways = {Way::kAlone, Way::kArbiter};
  if (!Divide(options.cpus).batch.empty()) ways.push_back(Way::kStatic);
  ways.push_back(Way::kNice);
  ways.push_back(Way::kIdle);
  const double capacity = CapacityOf(*workload, options.cpus.size());
  // Whole periods, so that what settles does not shift them.
  const Duration length =
      (kSettling + options.round) / options.period * options.period;

  const Interruptible interruptible;
  const double steps_per_us = Calibrate();
  std::vector<StepLoad> result;
  for (const double load : options.loads) {
    const RatePhase phases[] = {
        {.length = options.period / 2, .rate_rps = load * capacity},
        {.length = options.period / 2, .rate_rps = kLowLoad * capacity}};
    std::vector<Periods> periods(ways.size(), Periods(options.period));
    std::vector<std::vector<double>> shares(ways.size());
    // The services' processor time when alone, for the batch program's share.
    std::vector<double> used(ways.size(), 0);
    std::vector<std::vector<double>> units(ways.size());
    std::vector<double> alone_units;
    const unsigned rounds = RoundsOf(options);
    for (unsigned round = 0; round < rounds; ++round) {
      const std::vector<Arrival> arrivals =
          DrawPhases(*workload, phases, length, options.seed + round);
      Result<double> alone = MeasureBatchAlone(options);
      if (!alone) return tl::unexpected(alone.error());
      alone_units.push_back(*alone);
      for (size_t turn = 0; turn < ways.size(); ++turn) {
        const size_t i = (round + turn) % ways.size();
        if (!Report(fmt::format("load {:g}, round {} of {}: {}", load,
                                round + 1, rounds, ToString(ways[i]))))
          return MakeError(ErrorCode::kCancelled, "interrupted");
        Result<Slice> slice =
            MeasureSlice(options, ways[i], std::span(&arrivals, 1),
                         /*with_batch=*/true, steps_per_us);
        if (!slice) return tl::unexpected(slice.error());
        periods[i].Add(slice->answers[0]);
        units[i].push_back(slice->batch_units_per_second);
        used[i] += slice->service_cpus / rounds;
      }
    }
    StepLoad step{.load = load,
                  .periods = static_cast<unsigned>(
                      rounds * (options.round / options.period))};
    for (size_t i = 0; i < ways.size(); ++i) {
      StepWay way = StepSummary(ways[i], periods[i]);
      const double all = static_cast<double>(options.cpus.size());
      for (size_t round = 0; round < rounds; ++round) {
        shares[i].push_back(units[i][round] / (alone_units[round] / all) /
                            std::max(all - used[0], 1e-9));
      }
      way.batch_share = Ranked(shares[i]);
      step.ways.push_back(std::move(way));
    }
    result.push_back(std::move(step));
  }
  return result;
}

namespace {

struct Anticorrelated {
  Way way{};
  std::vector<base::Histogram> latencies;
  std::vector<double> service_cpus;
  std::vector<double> daemon_cpus;
  std::vector<double> grants;
};

Spread QuantileOver(const std::vector<base::Histogram>& latencies, double q) {
  std::vector<double> values;
  for (const base::Histogram& one : latencies)
    values.push_back(one.Quantile(q) / 1000);
  return Ranked(std::move(values));
}

// Each service has a slice for itself, with the other's CPUs idle.
Result<Slice> MeasureEachAlone(const CoresOptions& options,
                               std::span<const std::vector<Arrival>> arrivals,
                               double steps_per_us) {
  Slice all;
  for (const std::vector<Arrival>& one : arrivals) {
    Result<Slice> slice = MeasureSlice(options, Way::kAlone, std::span(&one, 1),
                                       /*with_batch=*/false, steps_per_us);
    if (!slice) return slice;
    all.answers.push_back(std::move(slice->answers[0]));
    all.service_cpus += slice->service_cpus;
  }
  return all;
}

}  // namespace

Result<std::vector<AnticorrelatedLoad>> RunAnticorrelated(
    const CoresOptions& options) {
  const Result<load::Workload> workload = ParseService(options.service);
  if (!workload) return tl::unexpected(workload.error());
  if (options.cpus.size() < 2) {
    return MakeError(ErrorCode::kInvalidArgument,
                     "the scenario needs 2 CPUs to share, one guaranteed to "
                     "each service; --cpus names 1");
  }
  const double capacity = CapacityOf(*workload, options.cpus.size());
  const Interruptible interruptible;
  const double steps_per_us = Calibrate();
  std::vector<AnticorrelatedLoad> result;
  for (const double load : options.loads) {
    const RatePhase high{.length = options.period / 2,
                         .rate_rps = load * capacity};
    const RatePhase low{.length = options.period / 2,
                        .rate_rps = kLowLoad * capacity};
    const RatePhase one[] = {high, low};
    const RatePhase other[] = {low, high};
    std::vector<Anticorrelated> ways = {{.way = Way::kAlone},
                                        {.way = Way::kArbiter},
                                        {.way = Way::kStatic},
                                        {.way = Way::kLinux}};
    const unsigned rounds = RoundsOf(options);
    for (unsigned round = 0; round < rounds; ++round) {
      const Duration length = kSettling + options.round;
      const std::vector<Arrival> arrivals[] = {
          DrawPhases(*workload, one, length, options.seed + 2 * round),
          DrawPhases(*workload, other, length, options.seed + 2 * round + 1)};
      for (size_t turn = 0; turn < ways.size(); ++turn) {
        Anticorrelated& way = ways[(round + turn) % ways.size()];
        if (!Report(fmt::format("load {:g}, round {} of {}: {}", load,
                                round + 1, rounds, ToString(way.way))))
          return MakeError(ErrorCode::kCancelled, "interrupted");
        Result<Slice> slice =
            way.way == Way::kAlone
                ? MeasureEachAlone(options, arrivals, steps_per_us)
                : MeasureSlice(options, way.way, arrivals,
                               /*with_batch=*/false, steps_per_us);
        if (!slice) return tl::unexpected(slice.error());
        base::Histogram both = LatencyOf(slice->answers[0]);
        both.Merge(LatencyOf(slice->answers[1]));
        way.latencies.push_back(std::move(both));
        way.service_cpus.push_back(slice->service_cpus);
        way.daemon_cpus.push_back(slice->daemon_cpus);
        way.grants.push_back(slice->grants_per_second);
      }
    }
    AnticorrelatedLoad at{.load = load};
    for (const Anticorrelated& way : ways) {
      std::vector<double> over;
      for (size_t i = 0; i < rounds; ++i) {
        over.push_back(way.latencies[i].Quantile(0.99) /
                       ways[0].latencies[i].Quantile(0.99));
      }
      AnticorrelatedWay& summary = at.ways.emplace_back(
          AnticorrelatedWay{.way = way.way,
                            .p50_us = QuantileOver(way.latencies, 0.5),
                            .p99_us = QuantileOver(way.latencies, 0.99),
                            .p999_us = QuantileOver(way.latencies, 0.999),
                            .p99_over_alone = Ranked(over),
                            .service_cpus = Ranked(way.service_cpus),
                            .daemon_cpus = Ranked(way.daemon_cpus),
                            .grants_per_second = Ranked(way.grants)});
      for (const base::Histogram& latency : way.latencies) {
        summary.requests += latency.count();
        summary.unanswered += latency.infinite();
      }
    }
    result.push_back(std::move(at));
  }
  return result;
}

}  // namespace yamanote::bench
