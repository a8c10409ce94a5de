// beside_batch.cc - takes the slices of each way together.

#include "tools/bench/cores/beside_batch.h"

#include <fmt/format.h>

#include <algorithm>

#include "tools/bench/cores/slice.h"

namespace yamanote::bench {
namespace {

struct Series {
  Way way{};
  std::vector<Slice> slices;
  std::vector<base::Histogram> latencies;
};

// What each round had besides.
struct Beside {
  std::vector<double> batch_alone;  // Units/s.
  std::vector<double> stolen;
};

template <typename Get>
Spread Over(const std::vector<Slice>& slices, Get get) {
  std::vector<double> values;
  for (size_t i = 0; i < slices.size(); ++i) values.push_back(get(i));
  return Ranked(std::move(values));
}

BesideBatchWay Summary(const Series& series, const Series& alone,
                       const Beside& beside, size_t cpus) {
  const std::vector<Slice>& slices = series.slices;
  const auto quantile = [&](double q) {
    return Over(slices, [&series, q](size_t i) {
      return series.latencies[i].Quantile(q) / 1000;
    });
  };
  const auto field = [&](double Slice::* member) {
    return Over(slices, [&](size_t i) { return slices[i].*member; });
  };
  BesideBatchWay way{
      .way = series.way,
      .p50_us = quantile(0.5),
      .p99_us = quantile(0.99),
      .p999_us = quantile(0.999),
      .p99_over_alone = Over(slices,
                             [&](size_t i) {
                               return series.latencies[i].Quantile(0.99) /
                                      alone.latencies[i].Quantile(0.99);
                             }),
      .batch_share = Over(slices,
                          [&](size_t i) {
                            const double all = static_cast<double>(cpus);
                            const double left = std::max(
                                all - alone.slices[i].service_cpus, 1e-9);
                            return slices[i].batch_units_per_second /
                                   (beside.batch_alone[i] / all) / left;
                          }),
      .service_cpus = field(&Slice::service_cpus),
      .daemon_cpus = field(&Slice::daemon_cpus),
      .generator_late_p99_us = field(&Slice::generator_late_p99_us),
      .grants_per_second = field(&Slice::grants_per_second)};
  for (const base::Histogram& latency : series.latencies) {
    way.requests += latency.count();
    way.unanswered += latency.infinite();
  }
  return way;
}

}  // namespace

Result<BesideBatchResult> RunBesideBatch(const CoresOptions& options) {
  const Result<load::Workload> workload = ParseService(options.service);
  if (!workload) return tl::unexpected(workload.error());
  std::vector<Series> ways = {{.way = Way::kAlone}, {.way = Way::kArbiter}};
  if (!Divide(options.cpus).batch.empty())
    ways.push_back({.way = Way::kStatic});
  ways.push_back({.way = Way::kNice});
  ways.push_back({.way = Way::kIdle});
  const auto rounds = static_cast<unsigned>(
      std::max<int64_t>(options.length / options.round, 1));

  const Interruptible interruptible;
  BesideBatchResult result{.steps_per_us = Calibrate()};
  for (const double load : options.loads) {
    const double rate = load * CapacityOf(*workload, options.cpus.size());
    Beside beside;
    for (Series& series : ways) series = {.way = series.way};
    for (unsigned round = 0; round < rounds; ++round) {
      const Result<std::vector<Arrival>> arrivals = DrawArrivals(
          *workload, rate, kSettling + options.round, options.seed + round);
      if (!arrivals) return tl::unexpected(arrivals.error());
      Result<double> alone = MeasureBatchAlone(options);
      if (!alone) return tl::unexpected(alone.error());
      beside.batch_alone.push_back(*alone);
      for (size_t turn = 0; turn < ways.size(); ++turn) {
        // Who is first differs from round to round.
        Series& series = ways[(round + turn) % ways.size()];
        if (!Report(fmt::format("load {:g}, round {} of {}: {}", load,
                                round + 1, rounds, ToString(series.way))))
          return MakeError(ErrorCode::kCancelled, "interrupted");
        Result<Slice> slice =
            MeasureSlice(options, series.way, std::span(&*arrivals, 1),
                         /*with_batch=*/true, result.steps_per_us);
        if (!slice) return tl::unexpected(slice.error());
        result.generator_prompt =
            result.generator_prompt && slice->generator_prompt;
        beside.stolen.push_back(slice->stolen_share);
        series.latencies.push_back(LatencyOf(slice->answers[0]));
        slice->answers.clear();
        series.slices.push_back(std::move(*slice));
      }
    }
    BesideBatchLoad at{
        .load = load, .rate_rps = rate, .stolen_share = Ranked(beside.stolen)};
    for (const Series& series : ways) {
      at.ways.push_back(Summary(series, ways[0], beside, options.cpus.size()));
    }
    result.loads.push_back(std::move(at));
  }
  return result;
}

}  // namespace yamanote::bench
