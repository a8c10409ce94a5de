// combine.cc - sums and medians over runs.

#include "tools/load/combine.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <span>
#include <string>
#include <utility>

#include "base/check.h"

namespace yamanote::load {
namespace {

// Without those that are NaN; infinite ones are the greatest. Of an even number
// the higher of the two in the middle: a figure of some run, and no flattery.
double Median(std::vector<double> values) {
  std::erase_if(values, [](double value) { return std::isnan(value); });
  if (values.empty()) return kNoFigure;
  const auto middle =
      values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::ranges::nth_element(values, middle);
  return *middle;
}

using Pick = std::function<const Figures&(const PointResult&)>;

// `samples` stays what it is: of all runs.
Figures MedianFigures(std::span<const PointResult* const> points, Figures out,
                      const Pick& pick) {
  const auto median = [&](double Figures::* figure) {
    std::vector<double> values;
    for (const PointResult* const point : points)
      values.push_back(pick(*point).*figure);
    return Median(std::move(values));
  };
  out.p50 = median(&Figures::p50);
  out.p90 = median(&Figures::p90);
  out.p99 = median(&Figures::p99);
  out.p999 = median(&Figures::p999);
  out.max = median(&Figures::max);
  out.mean = median(&Figures::mean);
  return out;
}

// The runs that count: those that `valid` holds for or whose server failed, or
// all if there are none.
std::vector<const PointResult*> Counting(std::span<const SingleRun> runs,
                                         bool PointResult::* valid) {
  std::vector<const PointResult*> out;
  for (const SingleRun& run : runs) {
    if (run.point.*valid || run.server_failed) out.push_back(&run.point);
  }
  if (!out.empty()) return out;
  for (const SingleRun& run : runs) out.push_back(&run.point);
  return out;
}

void ReplaceByMedians(std::span<const SingleRun> runs, PointResult& out) {
  const auto all = Counting(runs, &PointResult::valid);
  const auto undisturbed = Counting(runs, &PointResult::valid_undisturbed);
  const auto replace = [&](auto& to, auto pick) {
    to.latency_us = MedianFigures(
        all, to.latency_us,
        [&](const auto& p) -> auto& { return pick(p).latency_us; });
    to.slowdown = MedianFigures(all, to.slowdown, [&](const auto& p) -> auto& {
      return pick(p).slowdown;
    });
    to.latency_us_undisturbed = MedianFigures(
        undisturbed, to.latency_us_undisturbed,
        [&](const auto& p) -> auto& { return pick(p).latency_us_undisturbed; });
    to.slowdown_undisturbed = MedianFigures(
        undisturbed, to.slowdown_undisturbed,
        [&](const auto& p) -> auto& { return pick(p).slowdown_undisturbed; });
  };
  replace(out, [](const PointResult& p) -> auto& { return p; });
  for (size_t i = 0; i < out.classes.size(); ++i) {
    replace(out.classes[i],
            [i](const PointResult& p) -> auto& { return p.classes[i]; });
  }
  std::vector<double> busy;
  for (const PointResult* const point : all)
    busy.push_back(point->generator_busy.value_or(kNoFigure));
  out.generator_busy = Median(std::move(busy));
}

// Of fewer runs no quarter can be told; of fewer samples no p99.
constexpr size_t kLeastRuns = 4;
constexpr uint64_t kLeastSamples = 100;
// In a demo (36 points, p99 over all classes, 2-vCPU VM, 2026-11-26) the median was 1.0
// to 2.0 times the best quarter's for 31 points and 3.6 to 6.5 for five, among them all
// that stood out.
constexpr double kUnsettled = 2.5;

// Why the median of the runs' p99 says little; "" if it says enough.
std::string Unsettled(std::span<const SingleRun> runs, const PointResult& out) {
  const auto counting = Counting(runs, &PointResult::valid);
  if (counting.size() < kLeastRuns) return "";
  for (size_t i = 0; i < out.classes.size(); ++i) {
    const ClassResult& found = out.classes[i];
    std::vector<double> p99;
    for (const PointResult* const run : counting)
      p99.push_back(run->classes[i].latency_us.p99);
    std::erase_if(p99, [](double value) { return std::isnan(value); });
    if (p99.size() < kLeastRuns ||
        found.latency_us.samples < kLeastSamples * runs.size())
      continue;
    std::ranges::sort(p99);
    const double quarter = p99[(p99.size() - 1) / 4];
    const double median = p99[p99.size() / 2];
    if (!(median > kUnsettled * quarter)) continue;
    return fmt::format(
        "its runs disagree: the p99 of {} was {:.0f} us or less in the best "
        "quarter of them, {:.0f} us or more in half",
        found.name, quarter, median);
  }
  return "";
}

// By the majority; but a server that failed in one run fails the point.
void Judge(std::span<const SingleRun> runs, PointResult& out) {
  size_t valid = 0;
  size_t valid_undisturbed = 0;
  const PointResult* failed = nullptr;
  const PointResult* invalid = nullptr;
  for (const SingleRun& run : runs) {
    valid += run.point.valid ? 1 : 0;
    valid_undisturbed += run.point.valid_undisturbed ? 1 : 0;
    if (run.server_failed && failed == nullptr) failed = &run.point;
    if (!run.point.valid && invalid == nullptr) invalid = &run.point;
  }
  out.valid = failed == nullptr && 2 * valid >= runs.size();
  out.valid_undisturbed =
      failed == nullptr && 2 * valid_undisturbed >= runs.size();
  out.why_invalid =
      out.valid
          ? ""
          : fmt::format("{} of {} runs are invalid, one because {}",
                        runs.size() - valid, runs.size(),
                        (failed != nullptr ? failed : invalid)->why_invalid);
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
    singles_.push_back(
        {run.account.ToPoint(offered_rps_), run.account.server_failed()});
}

PointResult Combination::ToPoint() const {
  YAMANOTE_CHECK(!runs_.empty(), "a point without a run");
  PointResult out = sum_->ToPoint(offered_rps_);
  for (const RunResult& run : runs_) out.seeds.push_back(run.seed);
  out.runs = runs_;
  if (combining_ == Combining::kSum || sum_->interrupted()) return out;
  ReplaceByMedians(singles_, out);
  Judge(singles_, out);
  out.unsettled = Unsettled(singles_, out);
  return out;
}

}  // namespace yamanote::load
