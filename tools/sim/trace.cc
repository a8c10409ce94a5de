// trace.cc - reads traces of requests: CSV, JSON lines, recordings.

#include "tools/sim/trace.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>

#include "tools/output/json.h"

namespace yamanote::simulation {
namespace {

constexpr std::size_t kMostClasses = 64;
// The year 2255, if times count from 1970.
constexpr int64_t kLatestNs = 9'000'000'000'000'000'000;

// `text`, a decimal number of units of `ns`, exactly: a double would round times that
// count from 1970 to a quarter of a microsecond.
std::optional<int64_t> ReadNanos(std::string_view text, int64_t ns) {
  int64_t whole = 0;
  const char* const end = text.data() + text.size();
  auto [at, error] = std::from_chars(text.data(), end, whole);
  if (error != std::errc() || whole < 0 || whole > kLatestNs / ns)
    return std::nullopt;
  int64_t value = whole * ns;
  if (at != end && *at == '.') {
    int64_t unit = ns;
    for (++at; at != end && *at >= '0' && *at <= '9'; ++at) {
      unit /= 10;
      value += unit * (*at - '0');
    }
  }
  if (at != end) {  // 1e6, as JSON may write it.
    double number = 0;
    const auto [last, wrong] = std::from_chars(text.data(), end, number);
    if (wrong != std::errc() || last != end || !(number >= 0) ||
        number * static_cast<double>(ns) > static_cast<double>(kLatestNs))
      return std::nullopt;
    value = std::llround(number * static_cast<double>(ns));
  }
  return value;
}

// The fields of one line, as text.
using Fields = std::map<std::string, std::string, std::less<>>;

std::vector<std::string> SplitCsv(std::string_view line) {
  std::vector<std::string> parts;
  while (true) {
    const std::size_t comma = line.find(',');
    parts.emplace_back(line.substr(0, comma));
    if (comma == std::string_view::npos) return parts;
    line.remove_prefix(comma + 1);
  }
}

class Reader {
 public:
  explicit Reader(std::string_view name) : name_(name) {}

  Result<Trace> Read(std::string_view text) {
    while (!text.empty()) {
      const std::size_t end = text.find('\n');
      std::string_view line = text.substr(0, end);
      text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
      ++line_;
      if (line.ends_with('\r')) line.remove_suffix(1);
      if (line.empty() || line.starts_with('#')) continue;
      if (const Result<void> read = ReadLine(line); !read)
        return tl::unexpected(read.error());
    }
    if (trace_.requests.empty()) {
      return MakeError(
          ErrorCode::kInvalidArgument,
          fmt::format("{}: has no requests; a line of CSV below the header "
                      "\"at_us,service_us\" is one",
                      name_));
    }
    const int64_t first = trace_.requests.front().at_ns;
    for (TracedRequest& request : trace_.requests) request.at_ns -= first;
    if (trace_.classes.empty()) trace_.classes.emplace_back("all");
    return std::move(trace_);
  }

 private:
  tl::unexpected<Error> Wrong(std::string_view what) const {
    return MakeError(ErrorCode::kInvalidArgument,
                     fmt::format("{}:{}: {}", name_, line_, what));
  }

  Result<void> ReadLine(std::string_view line) {
    Fields fields;
    if (line.starts_with('{')) {
      const Result<void> read = ReadJson(line, fields);
      if (!read) return read;
    } else if (header_.empty()) {
      header_ = SplitCsv(line);
      return CheckHeader();
    } else {
      const std::vector<std::string> values = SplitCsv(line);
      if (values.size() != header_.size()) {
        return Wrong(
            fmt::format("has {} fields and the header {}; give each "
                        "line as many",
                        values.size(), header_.size()));
      }
      for (std::size_t i = 0; i < values.size(); ++i)
        fields[header_[i]] = values[i];
    }
    return Add(fields);
  }

  Result<void> CheckHeader() const {
    const auto has = [&](std::string_view name) {
      return std::ranges::find(header_, name) != header_.end();
    };
    if (!has("at_ns") && !has("at_us") && !has("intended_ns"))
      return Wrong(
          "the header has no field at_ns or at_us; add it: when "
          "each request came");
    if (!has("service_ns") && !has("service_us"))
      return Wrong(
          "the header has no field service_ns or service_us; add "
          "it: what each request took");
    return {};
  }

  Result<void> ReadJson(std::string_view line, Fields& fields) const {
    const nlohmann::json json = tools::ParseJson(line);
    if (!json.is_object()) {
      return Wrong(
          "is not one whole JSON object; give each request one on a line of "
          "its own, for example {\"at_us\": 1.5, \"service_us\": 10}");
    }
    for (const auto& [key, value] : json.items()) {
      if (value.is_string()) {
        fields[key] = value.get<std::string>();
      } else if (value.is_number()) {
        fields[key] = tools::JsonText(value);
      }
    }
    return {};
  }

  // A time in ns from `name`_ns or `name`_us; nothing if neither is there.
  Result<std::optional<int64_t>> Time(const Fields& fields,
                                      const std::string& name) const {
    for (const auto& [unit, ns] :
         {std::pair<std::string, int64_t>{"_ns", 1}, {"_us", 1000}}) {
      const auto found = fields.find(name + unit);
      if (found == fields.end()) continue;
      const std::string& text = found->second;
      const std::optional<int64_t> value = ReadNanos(text, ns);
      if (!value) {
        return Wrong(
            fmt::format("{}{} is '{}', which is no number of it from 0 to {}",
                        name, unit, text.substr(0, 40), kLatestNs / ns));
      }
      return value;
    }
    return std::optional<int64_t>();
  }

  Result<void> Add(const Fields& fields) {
    // A recording's: several seeds one after the other.
    if (const auto seed = fields.find("seed"); seed != fields.end()) {
      if (first_seed_.empty()) first_seed_ = seed->second;
      if (seed->second != first_seed_) return {};
    }
    TracedRequest request;
    auto at = Time(fields, "at");
    if (at && !*at) at = Time(fields, "intended");
    if (!at) return tl::unexpected(at.error());
    if (!*at) return Wrong("has no at_ns or at_us: when it came");
    const auto service = Time(fields, "service");
    if (!service) return tl::unexpected(service.error());
    if (!*service)
      return Wrong("has no service_ns or service_us: what it took");
    if (**service < 1) {
      return Wrong(
          "its service time is 0, but every request takes something; a "
          "recording of a key-value store does not know what");
    }
    request.at_ns = **at;
    request.service_ns = **service;
    if (!trace_.requests.empty() &&
        request.at_ns < trace_.requests.back().at_ns) {
      return Wrong(
          fmt::format("came {} ns before the request above; sort the "
                      "lines by when they came",
                      trace_.requests.back().at_ns - request.at_ns));
    }
    if (const Result<void> named = AddNames(fields, request); !named)
      return named;
    if (trace_.requests.size() == kMostTraced)
      return Wrong(fmt::format("is request {}; at most {} are read: cut it",
                               kMostTraced + 1, kMostTraced));
    trace_.requests.push_back(request);
    return {};
  }

  Result<void> AddNames(const Fields& fields, TracedRequest& request) {
    if (const auto name = fields.find("class"); name != fields.end()) {
      const auto known = std::ranges::find(trace_.classes, name->second);
      request.request_class =
          static_cast<uint16_t>(known - trace_.classes.begin());
      if (known == trace_.classes.end()) {
        if (trace_.classes.size() == kMostClasses)
          return Wrong(fmt::format(
              "'{}' is class number {}; at most {} are "
              "told apart: merge some",
              name->second.substr(0, 40), kMostClasses + 1, kMostClasses));
        trace_.classes.push_back(name->second);
      }
    } else if (trace_.classes.empty()) {
      trace_.classes.emplace_back("all");
    }
    if (const auto name = fields.find("connection"); name != fields.end()) {
      request.connection =
          connections_.try_emplace(name->second, connections_.size())
              .first->second;
    }
    return {};
  }

  const std::string_view name_;
  uint64_t line_ = 0;
  std::vector<std::string> header_;
  std::string first_seed_;
  std::map<std::string, uint64_t, std::less<>> connections_;
  Trace trace_;
};

}  // namespace

Result<Trace> ParseTrace(std::string_view text, std::string_view name) {
  return Reader(name).Read(text);
}

Result<Trace> ReadTrace(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  // To insert nothing is a failure, but an empty file can be read.
  const bool empty = file.is_open() && file.peek() == EOF && !file.bad();
  if (!file || (!empty && !(text << file.rdbuf()))) {
    return MakeError(ErrorCode::kInvalidArgument,
                     fmt::format("--trace {}: {}; name a file that can be read",
                                 path, std::strerror(errno)));
  }
  return ParseTrace(text.view(), path);
}

}  // namespace yamanote::simulation
