// report.cc - makes the page from the parts in web/ and the results as JSON.

#include "tools/report/report.h"

#include <fmt/core.h>
#include <fmt/format.h>

#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <random>
#include <set>

#include "tools/output/json.h"
#include "tools/output/output.h"
#include "tools/report/assets.h"

namespace yamanote::report {
namespace {

using Json = nlohmann::ordered_json;
using load::ClassResult;
using load::Figures;
using load::LoadResult;
using load::PointResult;

Json FiguresJson(const Figures& figures) {
  return {{"p50", tools::JsonFigure(figures.p50)},
          {"p99", tools::JsonFigure(figures.p99)},
          {"p999", tools::JsonFigure(figures.p999)}};
}

// Of a class or of a whole point, both have the same four sets of figures.
template <typename T>
Json MeasuredJson(const T& from) {
  const auto set = [](const Figures& latency, const Figures& slowdown) {
    return Json{{"count", latency.samples},
                {"latency", FiguresJson(latency)},
                {"slowdown", FiguresJson(slowdown)}};
  };
  return {{"all", set(from.latency_us, from.slowdown)},
          {"undisturbed",
           set(from.latency_us_undisturbed, from.slowdown_undisturbed)}};
}

// The classes of all results by name, in the order of their first appearance.
std::vector<std::string> ClassNames(const Report& report) {
  std::vector<std::string> names;
  for (const LoadResult& result : report.results) {
    for (const PointResult& point : result.points) {
      for (const ClassResult& found : point.classes) {
        if (std::find(names.begin(), names.end(), found.name) == names.end()) {
          names.push_back(found.name);
        }
      }
    }
  }
  return names;
}

Json PointJson(const PointResult& point, size_t scheduler,
               const std::vector<std::string>& names, bool medians) {
  Json classes = Json::array();
  for (const std::string& name : names) {
    const auto found =
        std::find_if(point.classes.begin(), point.classes.end(),
                     [&](const ClassResult& c) { return c.name == name; });
    classes.push_back(found == point.classes.end() ? Json(nullptr)
                                                   : MeasuredJson(*found));
  }
  // A single class is the whole; several are followed by the whole.
  if (names.size() != 1) classes.push_back(MeasuredJson(point));
  std::string why;
  if (!point.valid)
    why = point.why_invalid.empty() ? "no reason was given" : point.why_invalid;
  return {{"scheduler", scheduler},
          {"offered", point.offered_rps},
          {"achieved", point.achieved_rps},
          {"invalid", why},
          {"valid_undisturbed", point.valid_undisturbed},
          {"unsettled", point.unsettled.value_or("")},
          {"lost", point.lost},
          {"refused", point.refused},
          {"late", point.late},
          {"misses", point.misses},
          {"closed", point.closed_connections},
          {"gaps", point.gaps.count},
          {"tagged", point.gaps.tagged},
          {"samples", point.latency_us.samples},
          {"seeds", point.seeds.size()},
          // Among how many runs the samples are divided for a quantile.
          {"apart", medians ? point.seeds.size() : 1},
          {"classes", classes}};
}

std::vector<std::string> Labels(const Report& report) {
  std::vector<std::string> labels;
  std::set<std::string> used;
  for (const LoadResult& result : report.results) {
    const std::string base = !result.label.empty()    ? result.label
                             : !result.target.empty() ? result.target
                                                      : std::string("unnamed");
    std::string label = base;
    for (int n = 2; !used.insert(label).second; ++n)
      label = fmt::format("{} ({})", base, n);
    labels.push_back(label);
  }
  return labels;
}

// Three significant digits in the unit that suits.
std::string FormatMicros(double us) {
  if (us < 1e3) return fmt::format("{:.3g} µs", us);
  if (us < 1e6) return fmt::format("{:.3g} ms", us / 1e3);
  return us < 1e9 ? fmt::format("{:.3g} s", us / 1e6)
                  : fmt::format("{:.0f} s", us / 1e6);
}

// What the class's requests take when nothing else runs, as this server did.
std::vector<Fact> Floors(const LoadResult& result) {
  std::vector<Fact> facts;
  if (result.points.empty()) return facts;
  for (const ClassResult& found : result.points.front().classes) {
    if (!std::isfinite(found.floor_us)) continue;
    facts.emplace_back("unloaded " + found.name, FormatMicros(found.floor_us));
  }
  return facts;
}

Json SchedulersJson(const Report& report,
                    const std::vector<std::string>& labels) {
  Json list = Json::array();
  for (size_t i = 0; i < labels.size(); ++i) {
    std::vector<Fact> config;
    std::string summary;
    for (const SchedulerFacts& facts : report.schedulers) {
      if (facts.label != report.results[i].label) continue;
      config = facts.config;
      summary = facts.summary;
    }
    for (Fact& floor : Floors(report.results[i]))
      config.push_back(std::move(floor));
    list.push_back(
        {{"name", labels[i]}, {"summary", summary}, {"config", Json(config)}});
  }
  return list;
}

// One value if all results agree, all that occur if not.
template <typename Read>
void AddWorkload(Json& list, const Report& report, std::string_view name,
                 Read read) {
  std::vector<std::string> values;
  for (const LoadResult& result : report.results) {
    const std::string value = read(result);
    if (value.empty() ||
        std::find(values.begin(), values.end(), value) != values.end())
      continue;
    values.push_back(value);
  }
  if (!values.empty())
    list.push_back({name, fmt::format("{}", fmt::join(values, "; "))});
}

Json WorkloadJson(const Report& report) {
  Json list = Json::array();
  AddWorkload(list, report, "Application",
              [](const LoadResult& r) { return r.application; });
  AddWorkload(list, report, "Protocol",
              [](const LoadResult& r) { return r.protocol; });
  AddWorkload(list, report, "Requests",
              [](const LoadResult& r) { return r.service; });
  AddWorkload(list, report, "Arrivals",
              [](const LoadResult& r) { return r.arrivals; });
  AddWorkload(list, report, "Connections", [](const LoadResult& r) {
    return fmt::format("{}", r.connections);
  });
  AddWorkload(list, report, "Generator", [](const LoadResult& r) {
    return fmt::format("{} thread{}", r.threads, r.threads == 1 ? "" : "s");
  });
  AddWorkload(list, report, "Each run", [](const LoadResult& r) {
    return fmt::format("{:.3g} s after a warm-up of {:.2g} s", r.duration_s,
                       r.warmup_s);
  });
  return list;
}

std::string Lead(const Report& report, size_t classes) {
  if (!report.lead.empty()) return report.lead;
  size_t points = 0;
  for (const LoadResult& result : report.results)
    points += result.points.size();
  const LoadResult& first = report.results.front();
  std::string lead =
      fmt::format("{} curve{} from {} point{}", report.results.size() * classes,
                  report.results.size() * classes == 1 ? "" : "s", points,
                  points == 1 ? "" : "s");
  if (!first.application.empty())
    lead += fmt::format(", {} over {}", first.application, first.protocol);
  if (first.started.size() >= 10)
    lead += fmt::format(", measured on {}", first.started.substr(0, 10));
  return lead + ".";
}

// What the figures themselves oblige us to say.
std::vector<std::string> OwnNotes(const Report& report) {
  size_t points = 0, invalid = 0, invalid_undisturbed = 0, disturbed = 0;
  size_t unsettled = 0;
  uint64_t tagged = 0;
  double gap_us = 0, longest_us = 0;
  for (const LoadResult& result : report.results) {
    for (const PointResult& point : result.points) {
      ++points;
      invalid += point.valid ? 0 : 1;
      invalid_undisturbed += point.valid || point.valid_undisturbed ? 0 : 1;
      disturbed += point.gaps.count > 0 ? 1 : 0;
      unsettled += point.unsettled.value_or("").empty() ? 0 : 1;
      tagged += point.gaps.tagged;
      gap_us += point.gaps.total_us;
      longest_us = std::max(longest_us, point.gaps.max_us);
    }
  }
  std::vector<std::string> notes;
  if (invalid > 0) {
    notes.push_back(fmt::format(
        "{} of {} points are not credible, {} of them not even by their "
        "undisturbed samples. Such points are drawn hollow, outside the "
        "curves; the table says why.",
        invalid, points, invalid_undisturbed));
  }
  if (unsettled > 0) {
    notes.push_back(fmt::format(
        "The runs of {} of {} points disagree: they are of two kinds, as when "
        "the machine stalled in about half of them, and chance decides of "
        "which "
        "the median is. Such points are drawn hollow, outside the curves, and "
        "count neither for nor against the highest load. More or longer runs "
        "settle them.",
        unsettled, points));
  }
  if (disturbed > 0) {
    notes.push_back(fmt::format(
        "In {} of {} points the kernel or the hypervisor took the load "
        "generator's core away, {} in all and {} at a time at most; "
        "{} samples were touched. “Undisturbed” leaves these out.",
        disturbed, points, FormatMicros(gap_us), FormatMicros(longest_us),
        tagged));
  }
  if (const double share = TaggedShare(report); share > kBusyShare) {
    notes.push_back(fmt::format(
        "At the lowest load it was {:.0f}% of the samples: the machine "
        "was too busy for these tails to mean much. Measure again when it is "
        "idle.",
        100 * share));
  }
  if (const double rps = GeneratorBusyFrom(report); rps > 0) {
    notes.push_back(fmt::format(
        "From {:.0f} requests per second on the load generator itself was busy "
        "more than {:.0f}% of the time: the knee there is its own as much as "
        "the server's. More cores for it show the server's.",
        rps, 100 * kGeneratorLimit));
  }
  return notes;
}

Result<Json> ObjectiveJson(const Objective& objective,
                           const std::vector<std::string>& names) {
  size_t index = names.size() == 1 ? 0 : names.size();
  if (!objective.request_class.empty()) {
    const auto found =
        std::find(names.begin(), names.end(), objective.request_class);
    if (found == names.end()) {
      return MakeError(
          ErrorCode::kInvalidArgument,
          fmt::format("the objective's class is '{}'; the results have {}",
                      objective.request_class, fmt::join(names, ", ")));
    }
    index = static_cast<size_t>(found - names.begin());
  }
  return Json{{"klass", index},
              {"percentile", objective.percentile},
              {"kind", objective.kind},
              {"limit", objective.limit}};
}

Result<Json> PageJson(const Report& report) {
  if (report.results.empty()) {
    return MakeError(ErrorCode::kInvalidArgument,
                     "a report needs at least one result; there is none");
  }
  std::vector<std::string> names = ClassNames(report);
  Json page;
  page["objective"] = nullptr;
  if (report.objective) {
    Result<Json> objective = ObjectiveJson(*report.objective, names);
    if (!objective) return tl::unexpected(objective.error());
    page["objective"] = *objective;
  }
  const std::vector<std::string> labels = Labels(report);
  Json points = Json::array();
  for (size_t i = 0; i < report.results.size(); ++i) {
    for (const PointResult& point : report.results[i].points) {
      points.push_back(
          PointJson(point, i, names, report.results[i].combining == "median"));
    }
  }
  const LoadResult& first = report.results.front();
  std::vector<std::string> notes = report.notes;
  for (std::string& note : OwnNotes(report)) notes.push_back(std::move(note));
  page["title"] = report.title;
  page["lead"] = Lead(report, std::max<size_t>(1, names.size()));
  page["slowdown_note"] = first.application != "spin"
                              ? "Slowdown is latency divided by the class's "
                                "unloaded latency, its median when nothing "
                                "else runs."
                              : "Slowdown is latency divided by the service "
                                "time that the request asked for.";
  page["samples"] = PrefersUndisturbed(report) ? "undisturbed" : "all";
  page["overall"] = names.size() == 1 ? -1 : static_cast<int>(names.size());
  if (names.size() != 1) names.emplace_back("overall");
  page["classes"] = names;
  page["schedulers"] = SchedulersJson(report, labels);
  page["points"] = std::move(points);
  page["facts"] = Json(report.machine);
  page["workload"] = WorkloadJson(report);
  page["notes"] = notes;
  page["footer"] = fmt::format(
      "Made by Yamanote {}. Measured {}. Charts by uPlot (MIT licence).",
      first.version, first.started);
  return page;
}

// Inside <script> only "</" and "<!" can end or change the element, so every
// '<' becomes its JSON escape. Bytes that are not UTF-8 become U+FFFD.
std::string EmbeddedJson(const Json& json) {
  const std::string text = tools::JsonText(json);
  std::string safe;
  safe.reserve(text.size());
  for (const char c : text) {
    if (c == '<') {
      safe += "\\u003c";
    } else {
      safe += c;
    }
  }
  return safe;
}

std::string EscapeHtml(std::string_view text) {
  // Through JSON first, so that what is not UTF-8 is replaced here as well.
  const std::string valid =
      tools::ParseJson(tools::JsonText(Json(text))).get<std::string>();
  std::string safe;
  for (const char c : valid) {
    switch (c) {
      case '&':
        safe += "&amp;";
        break;
      case '<':
        safe += "&lt;";
        break;
      case '>':
        safe += "&gt;";
        break;
      case '"':
        safe += "&quot;";
        break;
      default:
        safe += c;
    }
  }
  return safe;
}

std::string Nonce() {
  std::random_device random;
  return fmt::format("{:08x}{:08x}{:08x}{:08x}", random(), random(), random(),
                     random());
}

// Replaces each "@NAME@" of the template; the values are not searched again.
std::string Fill(
    std::string_view page,
    const std::vector<std::pair<std::string_view, std::string>>& values) {
  std::string out;
  while (!page.empty()) {
    const size_t at = page.find('@');
    out += page.substr(0, at);
    if (at == std::string_view::npos) break;
    page.remove_prefix(at);
    const auto found =
        std::find_if(values.begin(), values.end(),
                     [&](const auto& v) { return page.starts_with(v.first); });
    if (found == values.end()) {
      out += '@';
      page.remove_prefix(1);
    } else {
      out += found->second;
      page.remove_prefix(found->first.size());
    }
  }
  return out;
}

double TaggedShareOf(const PointResult& point) {
  return static_cast<double>(point.gaps.tagged) /
         static_cast<double>(point.latency_us.samples);
}

// Of shares; 0 if there are none.
double Middle(std::vector<double> shares) {
  if (shares.empty()) return 0;
  const auto middle =
      shares.begin() + static_cast<std::ptrdiff_t>(shares.size() / 2);
  std::ranges::nth_element(shares, middle);
  return std::min(1.0, *middle);
}

}  // namespace

double TaggedShare(const Report& report) {
  // The more load, the longer samples wait, and the more of them meet a gap.
  std::vector<double> shares;
  for (const LoadResult& result : report.results) {
    const PointResult* lowest = nullptr;
    for (const PointResult& point : result.points) {
      if (point.latency_us.samples == 0) continue;
      if (lowest == nullptr || point.offered_rps < lowest->offered_rps)
        lowest = &point;
    }
    if (lowest != nullptr) shares.push_back(TaggedShareOf(*lowest));
  }
  return Middle(std::move(shares));
}

double GeneratorBusyFrom(const Report& report) {
  double least = 0;
  for (const LoadResult& result : report.results) {
    for (const PointResult& point : result.points) {
      if (point.generator_busy.value_or(0) < kGeneratorLimit) continue;
      if (least == 0 || point.offered_rps < least) least = point.offered_rps;
    }
  }
  return least;
}

bool PrefersUndisturbed(const Report& report) {
  // Slow samples are the likeliest to meet a gap: where many are left out, the rest
  // would look better than the server was.
  std::vector<double> shares;
  bool needed = false;
  for (const LoadResult& result : report.results) {
    for (const PointResult& point : result.points) {
      if (point.latency_us.samples != 0) shares.push_back(TaggedShareOf(point));
      needed = needed || (!point.valid && point.valid_undisturbed);
    }
  }
  return needed && Middle(std::move(shares)) <= kBusyShare;
}

Result<std::string> Render(const Report& report) {
  Result<Json> page = PageJson(report);
  if (!page) return tl::unexpected(page.error());
  const auto text = [](std::string_view asset) { return std::string(asset); };
  return Fill(assets::Page(), {{"@TITLE@", EscapeHtml(report.title)},
                               {"@NONCE@", Nonce()},
                               {"@CSS@", text(assets::Style())},
                               {"@SCRIPT@", text(assets::Script())},
                               {"@DATA@", EmbeddedJson(*page)}});
}

Result<void> Write(const Report& report, std::string_view flag,
                   const std::string& path) {
  const Result<std::string> html = Render(report);
  if (!html) return tl::unexpected(html.error());
  return tools::WriteFile(flag, path, *html);
}

}  // namespace yamanote::report
