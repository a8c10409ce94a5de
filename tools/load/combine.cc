// combine.cc - sums and medians over runs.

#include "tools/load/combine.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <span>
#include <string>

#include "base/check.h"

namespace yamanote::load {
namespace {

// Without those that are NaN; infinite ones are the greatest. Of an even number
// the lower of the two in the middle, so that it is a figure of some run.
double Median(std::vector<double> values) {
  std::erase_if(values, [](double value) { return std::isnan(value); });
  if (values.empty()) return kNoFigure;
  const auto middle =
      values.begin() + static_cast<std::ptrdiff_t>((values.size() - 1) / 2);
  std::ranges::nth_element(values, middle);
  return *middle;
}

using Pick = std::function<const Figures&(const PointResult&)>;

Figures MedianFigures(std::span<const PointResult* const> points,
                      const Pick& pick) {
  const auto median = [&](double Figures::* figure) {
    std::vector<double> values;
    for (const PointResult* const point : points)
      values.push_back(pick(*point).*figure);
    return Median(std::move(values));
  };
  Figures out;
  for (const PointResult* const point : points)
    out.samples += pick(*point).samples;
  out.p50 = median(&Figures::p50);
  out.p90 = median(&Figures::p90);
  out.p99 = median(&Figures::p99);
  out.p999 = median(&Figures::p999);
  out.max = median(&Figures::max);
  out.mean = median(&Figures::mean);
  return out;
}

// The runs that count: those that `valid` holds for, or all if for none.
std::vector<const PointResult*> Counting(std::span<const PointResult> points,
                                         bool PointResult::* valid) {
  std::vector<const PointResult*> out;
  for (const PointResult& point : points) {
    if (point.*valid) out.push_back(&point);
  }
  if (!out.empty()) return out;
  for (const PointResult& point : points) out.push_back(&point);
  return out;
}

void ReplaceByMedians(std::span<const PointResult> points, PointResult& out) {
  const auto all = Counting(points, &PointResult::valid);
  const auto undisturbed = Counting(points, &PointResult::valid_undisturbed);
  out.latency_us =
      MedianFigures(all, [](const auto& p) -> auto& { return p.latency_us; });
  out.slowdown =
      MedianFigures(all, [](const auto& p) -> auto& { return p.slowdown; });
  out.latency_us_undisturbed = MedianFigures(
      undisturbed,
      [](const auto& p) -> auto& { return p.latency_us_undisturbed; });
  out.slowdown_undisturbed = MedianFigures(
      undisturbed,
      [](const auto& p) -> auto& { return p.slowdown_undisturbed; });
  for (size_t i = 0; i < out.classes.size(); ++i) {
    ClassResult& to = out.classes[i];
    to.latency_us = MedianFigures(
        all, [i](const auto& p) -> auto& { return p.classes[i].latency_us; });
    to.slowdown = MedianFigures(
        all, [i](const auto& p) -> auto& { return p.classes[i].slowdown; });
    to.latency_us_undisturbed =
        MedianFigures(undisturbed, [i](const auto& p) -> auto& {
          return p.classes[i].latency_us_undisturbed;
        });
    to.slowdown_undisturbed =
        MedianFigures(undisturbed, [i](const auto& p) -> auto& {
          return p.classes[i].slowdown_undisturbed;
        });
  }
}

void JudgeByMajority(std::span<const PointResult> points, PointResult& out) {
  size_t valid = 0;
  size_t valid_undisturbed = 0;
  std::string why;
  for (const PointResult& point : points) {
    valid += point.valid ? 1 : 0;
    valid_undisturbed += point.valid_undisturbed ? 1 : 0;
    if (!point.valid && why.empty()) why = point.why_invalid;
  }
  out.valid = 2 * valid >= points.size();
  out.valid_undisturbed = 2 * valid_undisturbed >= points.size();
  out.why_invalid =
      out.valid ? ""
                : fmt::format("{} of {} runs are invalid, the first because {}",
                              points.size() - valid, points.size(), why);
}

}  // namespace

const char* ToString(Combining combining) {
  return combining == Combining::kSum ? "sum" : "median";
}

void Combination::Add(const Run& run) {
  if (sum_) {
    sum_->Merge(run.account);
  } else {
    sum_.emplace(run.account);
  }
  runs_.push_back(run.result);
  if (combining_ == Combining::kMedian)
    points_.push_back(run.account.ToPoint(offered_rps_));
}

PointResult Combination::ToPoint() const {
  YAMANOTE_CHECK(!runs_.empty(), "a point without a run");
  PointResult out = sum_->ToPoint(offered_rps_);
  for (const RunResult& run : runs_) out.seeds.push_back(run.seed);
  out.runs = runs_;
  if (combining_ == Combining::kSum || sum_->interrupted()) return out;
  ReplaceByMedians(points_, out);
  JudgeByMajority(points_, out);
  return out;
}

}  // namespace yamanote::load
