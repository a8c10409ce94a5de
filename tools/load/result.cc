// result.cc - the result as JSON and back.

#include "tools/load/result.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <type_traits>

#include "tools/output/json.h"

namespace yamanote::load {
namespace {

using Json = nlohmann::ordered_json;

// One visitor lists each struct's fields once; Writer and Reader share it, so
// that the two directions can't drift apart.

template <typename Visitor, typename T>
  requires std::is_same_v<std::remove_const_t<T>, Figures>
void Visit(Visitor& v, T& f) {
  v("samples", f.samples);
  v("p50", f.p50);
  v("p90", f.p90);
  v("p99", f.p99);
  v("p999", f.p999);
  v("max", f.max);
  v("mean", f.mean);
}

template <typename Visitor, typename T>
  requires std::is_same_v<std::remove_const_t<T>, ClassResult>
void Visit(Visitor& v, T& c) {
  v("name", c.name);
  v("share", c.share);
  v("floor_us", c.floor_us);
  v("sent", c.sent);
  v("answered", c.answered);
  v("lost", c.lost);
  v("refused", c.refused);
  v("latency_us", c.latency_us);
  v("slowdown", c.slowdown);
  v("latency_us_undisturbed", c.latency_us_undisturbed);
  v("slowdown_undisturbed", c.slowdown_undisturbed);
}

template <typename Visitor, typename T>
  requires std::is_same_v<std::remove_const_t<T>, GapResult>
void Visit(Visitor& v, T& g) {
  v("threshold_us", g.threshold_us);
  v("count", g.count);
  v("total_us", g.total_us);
  v("max_us", g.max_us);
  v("tagged", g.tagged);
}

template <typename Visitor, typename T>
  requires std::is_same_v<std::remove_const_t<T>, RunResult>
void Visit(Visitor& v, T& r) {
  v("seed", r.seed);
  v("achieved_rps", r.achieved_rps);
  v("valid", r.valid);
  v("why_invalid", r.why_invalid);
  v("sent", r.sent);
  v("late", r.late);
  v("lost", r.lost);
  v("refused", r.refused);
  v("latency_us", r.latency_us);
  v("slowdown", r.slowdown);
}

template <typename Visitor, typename T>
  requires std::is_same_v<std::remove_const_t<T>, PointResult>
void Visit(Visitor& v, T& p) {
  v("offered_rps", p.offered_rps);
  v("achieved_rps", p.achieved_rps);
  v("valid", p.valid);
  v("why_invalid", p.why_invalid);
  v("valid_undisturbed", p.valid_undisturbed);
  v("unsettled", p.unsettled);
  v("sent", p.sent);
  v("answered", p.answered);
  v("late", p.late);
  v("late_max_us", p.late_max_us);
  v("generator_busy", p.generator_busy);
  v("lost", p.lost);
  v("refused", p.refused);
  v("duplicates", p.duplicates);
  v("unmatched", p.unmatched);
  v("misses", p.misses);
  v("closed_connections", p.closed_connections);
  v("seeds", p.seeds);
  v("latency_us", p.latency_us);
  v("slowdown", p.slowdown);
  v("latency_us_undisturbed", p.latency_us_undisturbed);
  v("slowdown_undisturbed", p.slowdown_undisturbed);
  v("classes", p.classes);
  v("gaps", p.gaps);
  v("runs", p.runs);
}

template <typename Visitor, typename T>
  requires std::is_same_v<std::remove_const_t<T>, SearchStep>
void Visit(Visitor& v, T& s) {
  v("rps", s.rps);
  v("met", s.met);
  v("value", s.value);
  v("why", s.why);
}

template <typename Visitor, typename T>
  requires std::is_same_v<std::remove_const_t<T>, SearchResult>
void Visit(Visitor& v, T& s) {
  v("objective", s.objective);
  v("low_rps", s.low_rps);
  v("high_rps", s.high_rps);
  v("best_rps", s.best_rps);
  v("steps", s.steps);
}

template <typename Visitor, typename T>
  requires std::is_same_v<std::remove_const_t<T>, LoadResult>
void Visit(Visitor& v, T& r) {
  v("version", r.version);
  v("started", r.started);
  v("label", r.label);
  v("target", r.target);
  v("application", r.application);
  v("protocol", r.protocol);
  v("service", r.service);
  v("arrivals", r.arrivals);
  v("connections", r.connections);
  v("threads", r.threads);
  v("duration_s", r.duration_s);
  v("warmup_s", r.warmup_s);
  v("combining", r.combining);
  v("points", r.points);
  v("search", r.search);
}

class Writer {
 public:
  Json json = Json::object();

  void operator()(const char* key, const double& value) {
    json[key] = tools::JsonFigure(value);
  }
  template <typename T>
  void operator()(const char* key, const std::optional<T>& value) {
    if (value) (*this)(key, *value);
  }
  template <typename T>
  void operator()(const char* key, const std::vector<T>& values) {
    Json& list = json[key] = Json::array();
    for (const T& value : values) {
      if constexpr (std::is_arithmetic_v<T>) {
        list.push_back(value);
      } else {
        list.push_back(Nested(value));
      }
    }
  }
  template <typename T>
  void operator()(const char* key, const T& value) {
    if constexpr (std::is_arithmetic_v<T> || std::is_same_v<T, std::string>) {
      json[key] = value;
    } else {
      json[key] = Nested(value);
    }
  }

 private:
  template <typename T>
  static Json Nested(const T& value) {
    Writer writer;
    Visit(writer, value);
    return std::move(writer.json);
  }
};

// Stops at the first field that is wrong and names it by its path.
class Reader {
 public:
  Reader(const nlohmann::json& json, std::string path)
      : json_(json), path_(std::move(path)) {}

  std::string error;

  template <typename T>
  void operator()(const char* key, std::optional<T>& value) {
    if (!error.empty() || !json_.contains(key)) return;
    value.emplace();
    (*this)(key, *value);
  }
  template <typename T>
  void operator()(const char* key, T& value) {
    if (!error.empty()) return;
    const auto found = json_.find(key);
    if (found == json_.end()) {
      error = fmt::format("field {}{} is missing", path_, key);
      return;
    }
    Read(*found, path_ + key, value);
  }

 private:
  void Wrong(const std::string& path, const nlohmann::json& found,
             const char* expected) {
    error = fmt::format("field {} is {}; it must be {}", path,
                        tools::JsonText(found).substr(0, 60), expected);
  }
  void Read(const nlohmann::json& j, const std::string& path, double& value) {
    if (j.is_number()) {
      value = j.get<double>();
    } else if (j.is_null()) {
      value = kNoFigure;
    } else if (j.is_string() && j.get_ref<const std::string&>() == "inf") {
      value = std::numeric_limits<double>::infinity();
    } else {
      Wrong(path, j, "a number, \"inf\" or null");
    }
  }
  void Read(const nlohmann::json& j, const std::string& path, uint64_t& value) {
    if (!j.is_number_unsigned()) return Wrong(path, j, "a number from 0 up");
    value = j.get<uint64_t>();
  }
  void Read(const nlohmann::json& j, const std::string& path, bool& value) {
    if (!j.is_boolean()) return Wrong(path, j, "true or false");
    value = j.get<bool>();
  }
  void Read(const nlohmann::json& j, const std::string& path,
            std::string& value) {
    if (!j.is_string()) return Wrong(path, j, "a string");
    value = j.get<std::string>();
  }
  template <typename T>
  void Read(const nlohmann::json& j, const std::string& path,
            std::vector<T>& values) {
    if (!j.is_array()) return Wrong(path, j, "a list");
    for (size_t i = 0; i < j.size() && error.empty(); ++i) {
      Read(j[i], fmt::format("{}[{}]", path, i), values.emplace_back());
    }
  }
  template <typename T>
  void Read(const nlohmann::json& j, const std::string& path, T& value) {
    if (!j.is_object()) return Wrong(path, j, "an object");
    Reader nested(j, path + ".");
    Visit(nested, value);
    error = std::move(nested.error);
  }

  const nlohmann::json& json_;
  std::string path_;
};

}  // namespace

Figures ReadFigures(const base::Histogram& histogram, double unit) {
  Figures figures;
  figures.samples = histogram.count();
  figures.p50 = histogram.Quantile(0.5) / unit;
  figures.p90 = histogram.Quantile(0.9) / unit;
  figures.p99 = histogram.Quantile(0.99) / unit;
  figures.p999 = histogram.Quantile(0.999) / unit;
  figures.mean = histogram.Mean() / unit;
  if (histogram.finite() > 0) {
    figures.max = static_cast<double>(histogram.Max()) / unit;
  }
  return figures;
}

nlohmann::ordered_json ToJson(const LoadResult& result) {
  Writer writer;
  writer.json["schema"] = kSchema;
  Visit(writer, result);
  return std::move(writer.json);
}

Result<LoadResult> FromJson(const nlohmann::json& json) {
  if (!json.is_object()) {
    return MakeError(ErrorCode::kInvalidArgument,
                     "a load result must be a JSON object");
  }
  const auto schema = json.find("schema");
  if (schema == json.end() || *schema != kSchema) {
    return MakeError(
        ErrorCode::kInvalidArgument,
        fmt::format("field schema is {}; this version reads \"{}\": measure "
                    "again with `yamanote load --json`",
                    schema == json.end()
                        ? "missing"
                        : tools::JsonText(*schema).substr(0, 60),
                    kSchema));
  }
  LoadResult result;
  Reader reader(json, "");
  Visit(reader, result);
  if (!reader.error.empty()) {
    return MakeError(ErrorCode::kInvalidArgument, reader.error);
  }
  return result;
}

Result<LoadResult> ParseLoadResult(std::string_view text) {
  const auto json = tools::ParseJson(text);
  if (json.is_discarded()) {
    return MakeError(ErrorCode::kInvalidArgument,
                     "a load result must be JSON; this text is not");
  }
  return FromJson(json);
}

}  // namespace yamanote::load
