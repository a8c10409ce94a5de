// report.h - writes load results as one self-contained, interactive HTML file.
//
// The file needs no network and no server: charts, style and figures are
// inside. Every name is text, never markup, whatever it contains; the page's
// security policy forbids it to load anything.
//
// Thread-safe: no shared state.

#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tools/load/result.h"
#include "yamanote/result.h"

namespace yamanote::report {

// Name and value, shown as written.
using Fact = std::pair<std::string, std::string>;

// What the caller knows about the server behind a result.
struct SchedulerFacts {
  std::string label;      // Equal to LoadResult::label.
  std::string summary{};  // One line; may be empty.
  std::vector<Fact> config{};
};

// What a load has to meet to count; drawn as a line, judged in the first card.
struct Objective {
  std::string request_class{};  // A class's name; empty: all requests together.
  std::string percentile = "p99";  // "p50", "p99" or "p999".
  std::string kind = "slowdown";   // "slowdown" or "latency" (in µs).
  double limit = 0;                // > 0.
};

struct Report {
  std::string title = "Tail latency under load";
  // One line below the title; empty: made from the results.
  std::string lead{};
  // One curve per class for each. Those without a label are named by their
  // target; equal labels are told apart by a number.
  std::vector<load::LoadResult> results;
  std::vector<SchedulerFacts> schedulers{};
  std::vector<Fact> machine{};
  // What the reader must know; shown as written.
  std::vector<std::string> notes{};
  std::optional<Objective> objective{};
};

// Returns the HTML. kInvalidArgument if there is no result, or if the objective
// names a class, percentile or kind that the results don't have.
Result<std::string> Render(const Report& report);

// Returns the share of samples, 0 to 1, during which the generator's core was
// taken away; each result's at its lowest load, and the median of those.
double TaggedShare(const Report& report);

// Above this share the machine was too busy for its figures to mean much, and
// what is left without the tagged samples is too select.
inline constexpr double kBusyShare = 0.1;

// Above this share of the time a generator that sends and receives is at its limit.
inline constexpr double kGeneratorLimit = 0.95;

// Returns the least load, in requests per second, at which it was; 0: none.
double GeneratorBusyFrom(const Report& report);

// Returns whether the samples that no gap touched are the better reading: some
// point is credible with them only, and they are nearly all of the point in the
// middle. The page then
// starts with these.
bool PrefersUndisturbed(const Report& report);

// Renders and writes the file that `flag` named. Errors: as Render() and
// WriteFile() of tools/output/output.h.
Result<void> Write(const Report& report, std::string_view flag,
                   const std::string& path);

// The schema "yamanote.report/1": everything above, so that the page can be
// made again. Reading refuses what it doesn't understand by the field's path.
nlohmann::ordered_json ToJson(const Report& report);
Result<Report> FromJson(const nlohmann::json& json);

// Returns the facts of the machine this runs on: processor, cores, kernel.
std::vector<Fact> MachineFacts();

// Parses "get:p99-slowdown<=10", "p99.9-latency<=300us".
Result<Objective> ParseObjective(std::string_view text);

}  // namespace yamanote::report
