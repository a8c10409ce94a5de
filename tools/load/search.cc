// search.cc - objectives and the bisection over offered load.

#include "tools/load/search.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "tools/load/units.h"

namespace yamanote::load {
namespace {

constexpr int kMaxSteps = 20;
constexpr int kAttempts = 3;  // For a step whose point is invalid.

double FigureOf(const Figures& figures, std::string_view quantile) {
  if (quantile == "p50") return figures.p50;
  if (quantile == "p90") return figures.p90;
  if (quantile == "p99") return figures.p99;
  if (quantile == "p99.9") return figures.p999;
  if (quantile == "max") return figures.max;
  return figures.mean;
}

bool KnownQuantile(std::string_view text) {
  return text == "p50" || text == "p90" || text == "p99" || text == "p99.9" ||
         text == "max" || text == "mean";
}

// Works for a PointResult and a ClassResult.
template <typename T>
const Figures& FiguresOf(const T& of, Limit::Quantity quantity,
                         Samples samples) {
  if (quantity == Limit::Quantity::kLatency) {
    return samples == Samples::kAll ? of.latency_us : of.latency_us_undisturbed;
  }
  return samples == Samples::kAll ? of.slowdown : of.slowdown_undisturbed;
}

Result<Limit> ParseLimit(std::string_view text, const Workload& workload) {
  const auto wrong = [&](std::string_view why) {
    return MakeError(
        ErrorCode::kInvalidArgument,
        fmt::format("--objective: '{}': {}; write [CLASS:]QUANTILE-slowdown"
                    "<=NUMBER or [CLASS:]QUANTILE-latency<=TIME, for example "
                    "p99-slowdown<=10 or get:p99.9-latency<=300us",
                    text.substr(0, 80), why));
  };
  Limit out;
  std::string_view rest = text;
  if (const size_t colon = rest.find(':'); colon != std::string_view::npos) {
    out.request_class = rest.substr(0, colon);
    rest.remove_prefix(colon + 1);
    bool known = false;
    std::string names;
    for (const RequestClass& c : workload.classes()) {
      known |= c.name == out.request_class;
      names += (names.empty() ? "" : ", ") + c.name;
    }
    if (!known) return wrong(fmt::format("the class is none of {}", names));
  }
  const size_t dash = rest.find('-');
  const size_t relation = rest.find("<=");
  if (dash == std::string_view::npos || relation == std::string_view::npos ||
      relation < dash) {
    return wrong("it is not an objective");
  }
  out.quantile = rest.substr(0, dash);
  if (!KnownQuantile(out.quantile)) {
    return wrong("the quantile is none of p50, p90, p99, p99.9, max, mean");
  }
  const std::string_view quantity = rest.substr(dash + 1, relation - dash - 1);
  const std::string_view limit = rest.substr(relation + 2);
  if (quantity == "latency") {
    out.quantity = Limit::Quantity::kLatency;
    const Result<Duration> time = ParseTime(limit, "--objective: latency");
    if (!time) return tl::unexpected(time.error());
    out.limit = static_cast<double>(ToNanos(*time)) / 1e3;
  } else if (quantity == "slowdown") {
    const Result<double> number =
        ParseNumber(limit, "--objective: slowdown", 1, 1e6);
    if (!number) return tl::unexpected(number.error());
    out.limit = *number;
  } else {
    return wrong("it limits neither latency nor slowdown");
  }
  return out;
}

// Whether `point` meets the objective, and what the first limit's figure is.
SearchStep Judge(const Objective& objective, const PointResult& point) {
  SearchStep step;
  step.rps = point.offered_rps;
  step.value = objective.limits.front().ValueIn(point, objective.samples);
  step.met = true;
  for (const Limit& limit : objective.limits) {
    const double value = limit.ValueIn(point, objective.samples);
    if (!(value <= limit.limit)) step.met = false;  // NaN does not meet it.
  }
  const bool valid = objective.samples == Samples::kAll
                         ? point.valid
                         : point.valid_undisturbed;
  if (!valid) {
    step.met = false;
    step.why = point.why_invalid;
  }
  return step;
}

}  // namespace

double Limit::ValueIn(const PointResult& point, Samples samples) const {
  if (request_class.empty()) {
    return FigureOf(FiguresOf(point, quantity, samples), quantile);
  }
  for (const ClassResult& c : point.classes) {
    if (c.name == request_class)
      return FigureOf(FiguresOf(c, quantity, samples), quantile);
  }
  return kNoFigure;
}

Result<Objective> Objective::Parse(std::string_view text,
                                   const Workload& workload) {
  Objective out;
  out.text = text;
  for (const std::string_view part : Split(text, ',')) {
    auto limit = ParseLimit(part, workload);
    if (!limit) return tl::unexpected(limit.error());
    out.limits.push_back(std::move(*limit));
  }
  return out;
}

Result<SearchOutcome> Search(const SearchOptions& options,
                             const MeasureAt& measure, const OnStep& on_step,
                             const std::function<bool()>& stopped) {
  SearchOutcome out;
  out.search.objective = options.objective.text;
  out.search.low_rps = options.low_rps;
  out.search.high_rps = options.high_rps;
  int left = 2 * kMaxSteps;

  const auto try_rate = [&](double rps) -> Result<bool> {
    SearchStep step;
    PointResult point;
    for (int attempt = 0; attempt < kAttempts && left > 0; ++attempt, --left) {
      auto measured = measure(rps);
      if (!measured) return tl::unexpected(measured.error());
      point = std::move(*measured);
      step = Judge(options.objective, point);
      if (step.why.empty() || stopped()) break;
    }
    if (step.met) out.search.best_rps = std::max(out.search.best_rps, rps);
    out.search.steps.push_back(step);
    out.points.push_back(std::move(point));
    if (on_step) on_step(step);
    return step.met;
  };

  double low = options.low_rps;
  double high = options.high_rps;
  Result<bool> met = try_rate(low);
  if (met && *met && high > low && !stopped()) {
    met = try_rate(high);
    if (met && *met) low = high;
    while (met && high > low * (1 + options.precision) && left > 0 &&
           !stopped() && out.search.steps.size() < kMaxSteps) {
      const double middle = (low + high) / 2;
      met = try_rate(middle);
      if (met) (*met ? low : high) = middle;
    }
  }
  if (!met) return tl::unexpected(met.error());
  std::sort(out.points.begin(), out.points.end(),
            [](const PointResult& a, const PointResult& b) {
              return a.offered_rps < b.offered_rps;
            });
  return out;
}

}  // namespace yamanote::load
