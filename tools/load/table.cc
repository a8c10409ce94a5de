// table.cc - prints points, classes and warnings.

#include "tools/load/table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "tools/load/units.h"

namespace yamanote::load {
namespace {

std::string Number(double value) {
  if (std::isnan(value)) return "-";
  if (std::isinf(value)) return "inf";
  if (value >= 1000) return fmt::format("{:.0f}", value);
  return fmt::format("{:.{}f}", value, value >= 100 ? 0 : value >= 10 ? 1 : 2);
}

std::string Row(std::string_view load, std::string_view name,
                const Figures& latency, const Figures& slowdown) {
  return fmt::format(
      "{:>20}  {:<10}{:>9}{:>9}{:>9}{:>9}{:>9} |{:>8}{:>8}{:>8}\n", load, name,
      Number(latency.p50), Number(latency.p90), Number(latency.p99),
      Number(latency.p999), Number(latency.max), Number(slowdown.p50),
      Number(slowdown.p99), Number(slowdown.p999));
}

std::string Spread(const PointResult& point) {
  if (point.runs.size() < 2) return "";
  double low = point.runs.front().latency_us.p99;
  double high = low;
  for (const RunResult& run : point.runs) {
    low = std::min(low, run.latency_us.p99);
    high = std::max(high, run.latency_us.p99);
  }
  return fmt::format("    p99 over {} seeds: {} to {} us\n", point.runs.size(),
                     Number(low), Number(high));
}

std::string Remarks(const PointResult& point) {
  std::string out;
  if (!point.valid) out += fmt::format("    INVALID: {}\n", point.why_invalid);
  if (!point.unsettled.value_or("").empty())
    out += fmt::format("    UNSETTLED: {}\n", *point.unsettled);
  const auto count = [&](uint64_t n, std::string_view what) {
    if (n > 0) out += fmt::format("    {} {}\n", n, what);
  };
  count(point.lost, "requests lost (unanswered: infinite in the quantiles)");
  count(point.refused,
        "requests refused by the server (infinite in the quantiles)");
  count(point.duplicates, "second answers ignored");
  count(point.unmatched, "answers to nothing that was asked");
  count(point.misses, "keys were not in the store");
  count(point.closed_connections, "connections closed by the server");
  if (point.valid && point.late > 0) {
    out += fmt::format("    {} of {} requests sent late, at most by {} us\n",
                       point.late, point.sent, Number(point.late_max_us));
  }
  if (point.gaps.count > 0) {
    out += fmt::format(
        "    generator off its core {} times, {} us in all, longest {} us: "
        "{} samples; without them p99 {} us, p99.9 {} us\n",
        point.gaps.count, Number(point.gaps.total_us),
        Number(point.gaps.max_us), point.gaps.tagged,
        Number(point.latency_us_undisturbed.p99),
        Number(point.latency_us_undisturbed.p999));
  }
  return out + Spread(point);
}

}  // namespace

std::string FormatTable(const LoadResult& result) {
  std::string out = fmt::format(
      "{}{} at {} over {}: {}, {} arrivals, {} connections, {} threads, "
      "{:g} s a run{}\n",
      result.label.empty() ? "" : result.label + ": ", result.application,
      result.target, result.protocol, result.service, result.arrivals,
      result.connections, result.threads, result.duration_s,
      result.combining == "median" ? ", medians over the runs" : "");
  out += fmt::format("{:>20}  {:<10}{:^45} |{:^24}\n", "offered > achieved", "",
                     "latency, us", "slowdown");
  out += fmt::format(
      "{:>20}  {:<10}{:>9}{:>9}{:>9}{:>9}{:>9} |{:>8}{:>8}{:>8}\n", "rps",
      "class", "p50", "p90", "p99", "p99.9", "max", "p50", "p99", "p99.9");
  for (const PointResult& point : result.points) {
    const std::string load =
        fmt::format("{} > {}", FormatRate(point.offered_rps),
                    FormatRate(point.achieved_rps));
    out += Row(load, "all", point.latency_us, point.slowdown);
    if (point.classes.size() > 1) {
      for (const ClassResult& c : point.classes) {
        out += Row("", c.name, c.latency_us, c.slowdown);
      }
    }
    out += Remarks(point);
  }
  if (result.search) {
    const SearchResult& search = *result.search;
    out += search.best_rps > 0
               ? fmt::format("highest load that meets {}: {} rps\n",
                             search.objective, FormatRate(search.best_rps))
               : fmt::format("no load from {} to {} rps meets {}\n",
                             FormatRate(search.low_rps),
                             FormatRate(search.high_rps), search.objective);
  }
  return out;
}

std::string FormatStep(const SearchStep& step) {
  return fmt::format("{:>10} rps  {:>10}  {}{}{}", FormatRate(step.rps),
                     Number(step.value), step.met ? "meets it" : "misses it",
                     step.why.empty() ? "" : ": ", step.why);
}

}  // namespace yamanote::load
