// points.cc - outcomes as points of a curve.

#include "tools/sim/points.h"

#include <algorithm>
#include <cmath>

#include "tools/version/build_info.h"

namespace yamanote::simulation {
namespace {

load::Figures ToFigures(const sim::Figures& figures) {
  return {.samples = figures.samples,
          .p50 = figures.p50.value,
          .p90 = figures.p90.value,
          .p99 = figures.p99.value,
          .p999 = figures.p999.value,
          .max = figures.max,
          .mean = figures.mean.value};
}

}  // namespace

load::PointResult ToPoint(const Scenario& scenario, const Outcome& outcome) {
  load::PointResult point;
  point.offered_rps = scenario.rate_rps;
  point.achieved_rps = outcome.achieved_rps;
  point.sent = outcome.classes.front().latency_us.samples;
  point.refused = outcome.refused;
  point.answered = point.sent - point.refused;
  for (unsigned i = 0; i < scenario.runs; ++i)
    point.seeds.push_back(scenario.seed + i);
  point.latency_us = ToFigures(outcome.classes.front().latency_us);
  point.slowdown = ToFigures(outcome.classes.front().slowdown);
  point.latency_us_undisturbed = point.latency_us;
  point.slowdown_undisturbed = point.slowdown;
  for (const ClassOutcome& one : outcome.classes) {
    // That of all is the point's own.
    if (outcome.classes.size() > 1 && &one == &outcome.classes.front())
      continue;
    load::ClassResult result;
    result.name = one.name;
    result.sent = one.latency_us.samples;
    result.share = static_cast<double>(result.sent) /
                   static_cast<double>(std::max<uint64_t>(point.sent, 1));
    result.answered = result.sent;
    result.latency_us = ToFigures(one.latency_us);
    result.slowdown = ToFigures(one.slowdown);
    result.latency_us_undisturbed = result.latency_us;
    result.slowdown_undisturbed = result.slowdown;
    point.classes.push_back(std::move(result));
  }
  return point;
}

load::LoadResult ToCurve(const std::string& label, const Scenario& scenario,
                         std::vector<load::PointResult> points) {
  load::LoadResult curve;
  curve.version = tools::GetBuildInfo().version;
  curve.label = label;
  curve.target = "simulation";
  curve.application = "spin";
  curve.protocol = "none";
  curve.service = scenario.service;
  curve.arrivals = scenario.arrivals_text;
  curve.connections = scenario.connections;
  curve.threads = scenario.cores;
  curve.duration_s = static_cast<double>(scenario.requests) / scenario.rate_rps;
  std::ranges::sort(points, {}, &load::PointResult::offered_rps);
  curve.points = std::move(points);
  return curve;
}

}  // namespace yamanote::simulation
