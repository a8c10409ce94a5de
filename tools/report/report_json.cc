// report_json.cc - the schema "yamanote.report/1", and objectives as text.

#include <fmt/core.h>

#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "tools/output/json.h"
#include "tools/report/report.h"

namespace yamanote::report {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kSchema = "yamanote.report/1";

tl::unexpected<Error> Wrong(const std::string& path,
                            const nlohmann::json& found, const char* expected) {
  std::string value = tools::JsonText(found);
  if (value.size() > 60) value = value.substr(0, 60) + "...";
  return MakeError(ErrorCode::kInvalidArgument,
                   fmt::format("{} is {}; expected {}", path, value, expected));
}

const nlohmann::json& At(const nlohmann::json& object, const char* key) {
  static const nlohmann::json kNothing;
  return object.contains(key) ? object[key] : kNothing;
}

Result<std::string> Text(const nlohmann::json& json, const std::string& path) {
  if (!json.is_string()) return Wrong(path, json, "a text");
  return json.get<std::string>();
}

Result<std::vector<Fact>> Facts(const nlohmann::json& json,
                                const std::string& path) {
  if (!json.is_array()) return Wrong(path, json, "a list of [name, value]");
  std::vector<Fact> facts;
  for (const auto& entry : json) {
    if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() ||
        !entry[1].is_string()) {
      return Wrong(fmt::format("{}[{}]", path, facts.size()), entry,
                   "[name, value], two texts");
    }
    facts.emplace_back(entry[0].get<std::string>(),
                       entry[1].get<std::string>());
  }
  return facts;
}

Result<SchedulerFacts> Scheduler(const nlohmann::json& json,
                                 const std::string& path) {
  if (!json.is_object()) return Wrong(path, json, "an object");
  Result<std::string> label = Text(At(json, "label"), path + ".label");
  if (!label) return tl::unexpected(label.error());
  Result<std::string> summary = Text(At(json, "summary"), path + ".summary");
  if (!summary) return tl::unexpected(summary.error());
  Result<std::vector<Fact>> config =
      Facts(At(json, "config"), path + ".config");
  if (!config) return tl::unexpected(config.error());
  return SchedulerFacts{*std::move(label), *std::move(summary),
                        *std::move(config)};
}

// Reads a list of `json`, each entry by `read`, into `into`.
template <typename T, typename Read>
Result<void> List(const nlohmann::json& json, const std::string& path,
                  std::vector<T>& into, Read read) {
  if (!json.is_array()) return Wrong(path, json, "a list");
  for (const auto& entry : json) {
    Result<T> value = read(entry, fmt::format("{}[{}]", path, into.size()));
    if (!value) return tl::unexpected(value.error());
    into.push_back(*std::move(value));
  }
  return {};
}

std::string ToText(const Objective& objective) {
  return fmt::format(
      "{}{}{}-{}<={:.17g}{}", objective.request_class,
      objective.request_class.empty() ? "" : ":",
      objective.percentile == "p999" ? "p99.9" : objective.percentile,
      objective.kind, objective.limit, objective.kind == "latency" ? "us" : "");
}

}  // namespace

Json ToJson(const Report& report) {
  Json schedulers = Json::array();
  for (const SchedulerFacts& facts : report.schedulers) {
    schedulers.push_back({{"label", facts.label},
                          {"summary", facts.summary},
                          {"config", Json(facts.config)}});
  }
  Json results = Json::array();
  for (const load::LoadResult& result : report.results)
    results.push_back(load::ToJson(result));
  return {{"schema", kSchema},
          {"title", report.title},
          {"lead", report.lead},
          {"machine", Json(report.machine)},
          {"notes", report.notes},
          {"objective",
           report.objective ? Json(ToText(*report.objective)) : Json(nullptr)},
          {"schedulers", std::move(schedulers)},
          {"results", std::move(results)}};
}

Result<Report> FromJson(const nlohmann::json& json) {
  if (!json.is_object() || At(json, "schema") != kSchema) {
    return Wrong("schema", json.is_object() ? At(json, "schema") : json,
                 "\"yamanote.report/1\"");
  }
  Report report;
  for (auto [key, into] :
       {std::pair("title", &report.title), std::pair("lead", &report.lead)}) {
    Result<std::string> text = Text(At(json, key), key);
    if (!text) return tl::unexpected(text.error());
    *into = *std::move(text);
  }
  Result<std::vector<Fact>> machine = Facts(At(json, "machine"), "machine");
  if (!machine) return tl::unexpected(machine.error());
  report.machine = *std::move(machine);
  if (const auto& objective = At(json, "objective"); !objective.is_null()) {
    Result<std::string> text = Text(objective, "objective");
    if (!text) return tl::unexpected(text.error());
    Result<Objective> parsed = ParseObjective(*text);
    if (!parsed) return tl::unexpected(parsed.error());
    report.objective = *std::move(parsed);
  }
  const auto read_result =
      [](const nlohmann::json& entry,
         const std::string& path) -> Result<load::LoadResult> {
    Result<load::LoadResult> result = load::FromJson(entry);
    if (!result)
      return MakeError(result.error().code,
                       path + ": " + result.error().message);
    return result;
  };
  for (const Result<void>& read :
       {List(At(json, "notes"), "notes", report.notes, Text),
        List(At(json, "schedulers"), "schedulers", report.schedulers,
             Scheduler),
        List(At(json, "results"), "results", report.results, read_result)}) {
    if (!read) return tl::unexpected(read.error());
  }
  return report;
}

Result<Objective> ParseObjective(std::string_view text) {
  const auto wrong = [&](const char* what) {
    return MakeError(
        ErrorCode::kInvalidArgument,
        fmt::format(
            "the objective '{}' {}; write for example get:p99-slowdown<=10 or "
            "p99.9-latency<=300us",
            text, what));
  };
  Objective objective;
  const size_t limit = text.rfind("<=");
  if (limit == std::string_view::npos) return wrong("has no limit (<=)");
  std::string_view what = text.substr(0, limit);
  std::string_view value = text.substr(limit + 2);
  // The class comes first and may itself contain ':' or '-'.
  if (const size_t colon = what.rfind(':'); colon != std::string_view::npos) {
    objective.request_class = what.substr(0, colon);
    what.remove_prefix(colon + 1);
  }
  const size_t dash = what.find('-');
  if (dash == std::string_view::npos)
    return wrong("names no latency or slowdown");
  const std::string_view percentile = what.substr(0, dash);
  if (percentile != "p50" && percentile != "p99" && percentile != "p99.9") {
    return wrong("has a percentile that is not p50, p99 or p99.9");
  }
  objective.percentile =
      percentile == "p99.9" ? "p999" : std::string(percentile);
  objective.kind = what.substr(dash + 1);
  if (objective.kind != "latency" && objective.kind != "slowdown") {
    return wrong("limits neither latency nor slowdown");
  }
  const auto [end, error] = std::from_chars(
      value.data(), value.data() + value.size(), objective.limit);
  if (error != std::errc() || !(objective.limit > 0) ||
      !std::isfinite(objective.limit)) {
    return wrong("has a limit that is not a positive number");
  }
  const std::string_view unit(
      end, static_cast<size_t>(value.data() + value.size() - end));
  if (objective.kind == "slowdown" ? !unit.empty()
                                   : unit != "us" && unit != "ms") {
    return wrong("has the wrong unit: us or ms for latency, none for slowdown");
  }
  if (unit == "ms") objective.limit *= 1000;
  return objective;
}

}  // namespace yamanote::report
