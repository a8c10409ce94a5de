// screen.cc - progress on standard error, the table for standard output.

#include "tools/demo/screen.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <set>
#include <vector>

namespace yamanote::demo {
namespace {

// Columns that `text` takes on a terminal: characters, not bytes, of UTF-8.
size_t Columns(std::string_view text) {
  return static_cast<size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

// Cuts `text` to `columns`, never within a character.
std::string_view Fit(std::string_view text, size_t columns) {
  size_t seen = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if ((text[i] & 0xC0) != 0x80 && seen++ == columns) return text.substr(0, i);
  }
  return text;
}

std::string PadLeft(std::string_view text, size_t columns) {
  return std::string(columns - std::min(columns, Columns(text)), ' ') +
         std::string(text);
}

// Three significant digits, as the page shows them.
std::string Digits(double value) {
  if (value == 0) return "0";
  const int magnitude =
      static_cast<int>(std::floor(std::log10(std::abs(value))));
  std::string text =
      fmt::format("{:.{}f}", value, std::clamp(2 - magnitude, 0, 6));
  if (text.find('.') != std::string::npos) {
    text.erase(text.find_last_not_of('0') + 1);
    if (text.ends_with('.')) text.pop_back();
  }
  return text;
}

std::string FormatSlowdown(double slowdown) {
  return std::isfinite(slowdown) ? fmt::format(" ({}×)", Digits(slowdown)) : "";
}

const load::ClassResult* FindClass(const load::PointResult& point,
                                   std::string_view name) {
  const auto found =
      std::find_if(point.classes.begin(), point.classes.end(),
                   [&](const load::ClassResult& c) { return c.name == name; });
  return found == point.classes.end() ? nullptr : &*found;
}

const load::PointResult* FindPoint(const load::LoadResult& result, double rps) {
  const auto found = std::find_if(
      result.points.begin(), result.points.end(),
      [&](const load::PointResult& p) { return p.offered_rps == rps; });
  return found == result.points.end() ? nullptr : &*found;
}

// The figures that count, of all samples or of the undisturbed.
enum class Samples { kAll, kUndisturbed };

double P99Latency(const load::ClassResult& found, Samples samples) {
  return samples == Samples::kAll ? found.latency_us.p99
                                  : found.latency_us_undisturbed.p99;
}

double P99Slowdown(const load::ClassResult& found, Samples samples) {
  return samples == Samples::kAll ? found.slowdown.p99
                                  : found.slowdown_undisturbed.p99;
}

bool Credible(const load::PointResult& point, Samples samples) {
  return point.valid ||
         (samples == Samples::kUndisturbed && point.valid_undisturbed);
}

bool Settled(const load::PointResult& point) {
  return point.unsettled.value_or("").empty();
}

const char* Mark(const load::PointResult& point, Samples samples) {
  if (!Credible(point, samples)) return " !";
  return Settled(point) ? "" : " ?";
}

std::string Figures(const load::ClassResult& found, Samples samples) {
  return FormatMicros(P99Latency(found, samples)) +
         FormatSlowdown(P99Slowdown(found, samples));
}

std::string Cell(const load::LoadResult& result, double rps,
                 std::string_view name, Samples samples) {
  const load::PointResult* const point = FindPoint(result, rps);
  const load::ClassResult* const found =
      point == nullptr ? nullptr : FindClass(*point, name);
  if (found == nullptr)
    return point == nullptr ? "-" : std::string("-") + Mark(*point, samples);
  return Figures(*found, samples) + Mark(*point, samples);
}

// The highest load up to which each point met the objective; 0 if none. One that
// is not settled counts neither way.
double HighestLoad(const load::LoadResult& result,
                   const report::Objective& objective, Samples samples) {
  std::vector<const load::PointResult*> points;
  for (const load::PointResult& point : result.points) points.push_back(&point);
  std::sort(points.begin(), points.end(),
            [](auto* a, auto* b) { return a->offered_rps < b->offered_rps; });
  double highest = 0;
  for (const load::PointResult* const point : points) {
    const load::ClassResult* const found =
        FindClass(*point, objective.request_class);
    if (Credible(*point, samples) && !Settled(*point)) continue;
    // The demo's objective; NaN fails the comparison as it should.
    if (!Credible(*point, samples) || found == nullptr ||
        !(P99Slowdown(*found, samples) <= objective.limit))
      break;
    highest = point->offered_rps;
  }
  return highest;
}

std::string ClassTable(const report::Report& report, std::string_view name,
                       Samples samples) {
  std::set<double> loads;
  std::vector<std::string> heads = {"offered"};
  for (const load::LoadResult& result : report.results) {
    heads.push_back(result.label);
    for (const load::PointResult& point : result.points)
      loads.insert(point.offered_rps);
  }
  std::vector<std::vector<std::string>> rows = {heads};
  for (const double rps : loads) {
    std::vector<std::string> row = {FormatRps(rps)};
    for (const load::LoadResult& result : report.results)
      row.push_back(Cell(result, rps, name, samples));
    rows.push_back(row);
  }
  std::vector<size_t> widths(heads.size(), 0);
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i)
      widths[i] = std::max(widths[i], Columns(row[i]));
  }
  std::string text = fmt::format("{}: p99 latency (slowdown)\n", name);
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i)
      text += "  " + PadLeft(row[i], widths[i]);
    text += '\n';
  }
  return text;
}

}  // namespace

Screen::Screen() : terminal_(isatty(STDERR_FILENO) == 1) {}

Screen::~Screen() { Update(""); }

void Screen::Update(std::string_view line) {
  if (!terminal_) return;
  const std::lock_guard lock(mutex_);
  if (line.empty() && !unfinished_) return;
  winsize size{};
  const bool known =
      ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1;
  fmt::print(stderr, "\r\033[K{}", Fit(line, known ? size.ws_col - 1u : 79u));
  std::fflush(stderr);
  unfinished_ = !line.empty();
}

void Screen::Line(std::string_view line) {
  const std::lock_guard lock(mutex_);
  fmt::print(stderr, "{}{}\n", unfinished_ ? "\r\033[K" : "", line);
  unfinished_ = false;
}

std::string FormatMicros(double us) {
  if (std::isnan(us)) return "-";
  if (std::isinf(us)) return "never";
  if (us < 1e3) return Digits(us) + " µs";
  if (us < 1e6) return Digits(us / 1e3) + " ms";
  return Digits(us / 1e6) + " s";
}

std::string FormatRps(double rps) {
  if (rps < 1e3) return Digits(rps) + "/s";
  if (rps < 1e6) return Digits(rps / 1e3) + "k/s";
  return Digits(rps / 1e6) + "M/s";
}

std::string ResultTable(const report::Report& report) {
  const Samples samples =
      PrefersUndisturbed(report) ? Samples::kUndisturbed : Samples::kAll;
  std::string text;
  if (samples == Samples::kUndisturbed) {
    text +=
        "Without the samples during which the generator's core was "
        "taken away.\n\n";
  } else if (const double share = report::TaggedShare(report);
             share > report::kBusyShare) {
    text += fmt::format(
        "The generator's core was taken away during {:.0f}% of the samples at "
        "the lowest\nload: this machine is too busy for its tails to mean "
        "much. Run it again when it is idle.\n\n",
        100 * share);
  }
  std::vector<std::string> classes;
  bool invalid = false;
  bool unanswered = false;
  bool unsettled = false;
  for (const load::LoadResult& result : report.results) {
    for (const load::PointResult& point : result.points) {
      invalid = invalid || !Credible(point, samples);
      unsettled = unsettled || (Credible(point, samples) && !Settled(point));
      for (const load::ClassResult& found : point.classes) {
        unanswered = unanswered || std::isinf(P99Latency(found, samples));
        if (std::find(classes.begin(), classes.end(), found.name) ==
            classes.end())
          classes.push_back(found.name);
      }
    }
  }
  for (const std::string& name : classes)
    text += ClassTable(report, name, samples) + "\n";
  if (invalid) text += "! not credible: the report says why\n";
  if (unsettled) text += "? not settled: its runs disagree, chance decides\n";
  if (unanswered)
    text += "never: more than 1% of the requests stayed unanswered\n";
  if (invalid || unsettled || unanswered) text += '\n';
  if (!report.objective) return text;
  text += fmt::format("highest measured load with {} p99 slowdown up to {}×\n",
                      report.objective->request_class,
                      Digits(report.objective->limit));
  for (const load::LoadResult& result : report.results) {
    const double load = HighestLoad(result, *report.objective, samples);
    text += fmt::format("  {:<12} {}\n", result.label,
                        load > 0 ? FormatRps(load) : "none");
  }
  if (const double rps = report::GeneratorBusyFrom(report); rps > 0) {
    text += fmt::format(
        "\nfrom {} on the load generator was at its limit too: its cores, not "
        "only the\nservers', make the knee\n",
        FormatRps(rps));
  }
  return text;
}

}  // namespace yamanote::demo
