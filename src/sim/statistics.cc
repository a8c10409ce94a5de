// statistics.cc - batches and their spread.

#include "sim/statistics.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace yamanote::sim {
namespace {

Estimate Spread(double value, const std::vector<double>& batches) {
  Estimate estimate{.value = value};
  if (batches.size() < 2) return estimate;
  double mean = 0;
  for (const double x : batches) mean += x;
  mean /= static_cast<double>(batches.size());
  if (!std::isfinite(mean) || !std::isfinite(value)) return estimate;
  double squares = 0;
  for (const double x : batches) squares += (x - mean) * (x - mean);
  const auto count = static_cast<double>(batches.size());
  const double error = std::sqrt(squares / (count - 1) / count);
  const double half =
      StudentT95(static_cast<unsigned>(batches.size() - 1)) * error;
  estimate.low = value - half;
  estimate.high = value + half;
  return estimate;
}

}  // namespace

double StudentT95(unsigned degrees) {
  if (degrees == 1) return 12.7062;
  if (degrees == 2) return 4.30265;
  constexpr double kTail = 0.05;  // Both sides together.
  const double n = degrees;
  const double a = 1 / (n - 0.5);
  const double b = 48 / (a * a);
  double c = ((20700 * a / b - 98) * a - 16) * a + 96.36;
  const double d =
      ((94.5 / (b + c) - 3) / b + 1) * std::sqrt(a * std::acos(0.0)) * n;
  double y = std::pow(d * kTail, 2 / n);
  if (y > 0.05 + a) {
    const double x = -1.959964;  // The normal distribution's.
    y = x * x;
    if (n < 5) c += 0.3 * (n - 4.5) * (x + 0.6);
    c = (((0.05 * d * x - 5) * x - 7) * x - 2) * x + b + c;
    y = (((((0.4 * y + 6.3) * y + 36) * y + 94.5) / c - y - 3) / b + 1) * x;
    y = std::expm1(a * y * y);
  } else {
    y = ((1 / (((n + 6) / (n * y) - 0.089 * d - 0.822) * (n + 2) * 3) +
          0.5 / (n + 4)) *
             y -
         1) *
            (n + 1) / (n + 2) +
        1 / y;
  }
  return std::sqrt(n * y);
}

Statistics::Statistics(const StatisticsOptions& options)
    : warmup_(options.warmup),
      per_batch_(std::max<uint64_t>(
          (options.requests - options.warmup) / options.batches, 1)),
      last_class_(options.classes - 1),
      groups_(options.classes + 1) {
  YAMANOTE_CHECK(options.classes >= 1 && options.batches >= 1 &&
                     options.warmup < options.requests,
                 "Statistics: impossible options");
}

void Statistics::Finished(const Arrival& arrival, Instant now) {
  ++answered_;
  last_ = now;
  service_ += arrival.service;
  if (!Count()) return;
  Of(arrival.request_class).Take(now - arrival.at, arrival.service);
}

void Statistics::Group::Record() {
  std::array<uint64_t, kAtATime> slowdowns;
  for (std::size_t i = 0; i < taken; ++i) {
    // Signed: those have an instruction.
    slowdowns[i] = static_cast<uint64_t>(static_cast<int64_t>(
        kSlowdownUnit * static_cast<double>(static_cast<int64_t>(sojourns[i])) /
        static_cast<double>(static_cast<int64_t>(services[i]))));
  }
  latency.batch.Record(std::span(sojourns).first(taken));
  slowdown.batch.Record(std::span(slowdowns).first(taken));
  taken = 0;
}

void Statistics::RecordTaken() {
  for (Group& group : groups_) group.Record();
}

void Statistics::Refused(const Arrival& arrival) {
  if (!Count()) return;
  ++refused_;
  Group& group = Of(arrival.request_class);
  group.latency.batch.RecordInfinite();
  group.slowdown.batch.RecordInfinite();
}

void Statistics::EndBatch() {
  RecordTaken();
  in_batch_ = 0;
  Group& all = groups_.back();
  for (std::size_t i = 0; i + 1 < groups_.size(); ++i) {
    all.latency.batch.Merge(groups_[i].latency.batch);
    all.slowdown.batch.Merge(groups_[i].slowdown.batch);
  }
  for (Group& group : groups_) {
    group.latency.EndBatch();
    group.slowdown.EndBatch();
  }
}

void Statistics::Close() {
  // One much shorter than the others would weigh as much as they.
  if (2 * in_batch_ >= per_batch_) {
    EndBatch();
    return;
  }
  RecordTaken();
  Group& all = groups_.back();
  for (std::size_t i = 0; i + 1 < groups_.size(); ++i) {
    all.latency.whole.Merge(groups_[i].latency.batch);
    all.slowdown.whole.Merge(groups_[i].slowdown.batch);
    groups_[i].latency.whole.Merge(groups_[i].latency.batch);
    groups_[i].slowdown.whole.Merge(groups_[i].slowdown.batch);
  }
}

void Statistics::Merge(const Statistics& other) {
  YAMANOTE_CHECK(groups_.size() == other.groups_.size(),
                 "Statistics of the same classes");
  for (std::size_t i = 0; i < groups_.size(); ++i) {
    groups_[i].latency.Merge(other.groups_[i].latency);
    groups_[i].slowdown.Merge(other.groups_[i].slowdown);
  }
  refused_ += other.refused_;
}

void Statistics::Quantity::EndBatch() {
  if (batch.count() == 0) return;
  Batch one{.figures = {batch.Mean()}, .count = batch.count()};
  for (std::size_t i = 0; i < kQuantiles.size(); ++i)
    one.figures[i + 1] = batch.Quantile(kQuantiles[i]);
  batches.push_back(one);
  whole.Merge(batch);
  batch = base::Histogram();
}

void Statistics::Quantity::Merge(const Quantity& other) {
  whole.Merge(other.whole);
  batches.insert(batches.end(), other.batches.begin(), other.batches.end());
}

Figures Statistics::Quantity::Read(double unit) const {
  const auto figure = [&](std::size_t index, double value) {
    std::vector<double> of_batches;
    for (const Batch& one : batches) {
      // Not one is beyond: it would be the batch's greatest, whatever the quantile.
      if (index > 0 &&
          static_cast<double>(one.count) * (1 - kQuantiles[index - 1]) < 1)
        return Estimate{.value = value / unit};
      of_batches.push_back(one.figures[index] / unit);
    }
    return Spread(value / unit, of_batches);
  };
  Figures figures{.samples = whole.count(),
                  .mean = figure(0, whole.Mean()),
                  .p50 = figure(1, whole.Quantile(kQuantiles[0])),
                  .p90 = figure(2, whole.Quantile(kQuantiles[1])),
                  .p99 = figure(3, whole.Quantile(kQuantiles[2])),
                  .p999 = figure(4, whole.Quantile(kQuantiles[3]))};
  if (whole.finite() > 0) figures.max = static_cast<double>(whole.Max()) / unit;
  return figures;
}

Figures Statistics::Latency(unsigned request_class) const {
  const std::size_t i =
      std::min<std::size_t>(request_class, groups_.size() - 1);
  return groups_[i].latency.Read(kLatencyUnit);
}

Figures Statistics::Slowdown(unsigned request_class) const {
  const std::size_t i =
      std::min<std::size_t>(request_class, groups_.size() - 1);
  return groups_[i].slowdown.Read(kSlowdownUnit);
}

}  // namespace yamanote::sim
