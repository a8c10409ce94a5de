// workload.cc - reads --service and draws requests from it.

#include "tools/load/workload.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "tools/load/units.h"

namespace yamanote::load {
namespace {

constexpr double kLongestSampleNanos = 1e9;
constexpr double kShareTolerance = 1e-6;

tl::unexpected<Error> Wrong(std::string message) {
  return MakeError(ErrorCode::kInvalidArgument, std::move(message));
}

std::string Shown(std::string_view text) {
  return std::string(text.substr(0, 60)) + (text.size() > 60 ? "..." : "");
}

// The keys of "key=value,key=value", each at most once.
using Settings = std::map<std::string_view, std::string_view>;

Result<Settings> ReadSettings(std::string_view kind, std::string_view text) {
  Settings settings;
  for (const std::string_view part : Split(text, ',')) {
    const size_t equals = part.find('=');
    if (equals == std::string_view::npos) {
      return Wrong(fmt::format("--service {}: '{}' is not KEY=VALUE", kind,
                               Shown(part)));
    }
    if (!settings.emplace(part.substr(0, equals), part.substr(equals + 1))
             .second) {
      return Wrong(
          fmt::format("--service {}: key '{}' is given twice; keep one", kind,
                      Shown(part.substr(0, equals))));
    }
  }
  return settings;
}

// Removes and returns a setting, or an empty view.
std::string_view Take(Settings& settings, std::string_view key) {
  const auto node = settings.extract(key);
  return node.empty() ? std::string_view() : node.mapped();
}

Result<double> TimeNanos(std::string_view text, std::string_view field) {
  const Result<Duration> time = ParseTime(text, field);
  if (!time) return tl::unexpected(time.error());
  return static_cast<double>(ToNanos(*time));
}

// What is drawn around it: a mean or a least value of nothing makes all of them nothing.
Result<double> ScaleNanos(std::string_view text, std::string_view field) {
  const Result<double> time = TimeNanos(text, field);
  if (time && !(*time >= 1)) {
    return Wrong(
        fmt::format("{} is '{}'; it must be 1ns or more (fixed:0us if requests "
                    "are to take nothing)",
                    field, Shown(text)));
  }
  return time;
}

// Reads `max=` and refuses what no setting of `kind` is called.
Result<void> FinishHeavyTail(std::string_view kind, std::string_view keys,
                             Settings& settings, RequestClass& out) {
  out.limit_ns = kLongestSampleNanos;
  if (const std::string_view text = Take(settings, "max"); !text.empty()) {
    const Result<double> limit =
        TimeNanos(text, fmt::format("--service {}: max", kind));
    if (!limit) return tl::unexpected(limit.error());
    if (!(*limit >= 1 && *limit <= kLongestSampleNanos)) {
      return Wrong(fmt::format("--service {}: max is {}; it must be 1ns to 1s",
                               kind, Shown(text)));
    }
    if (*limit < out.scale_ns) {
      return Wrong(fmt::format(
          "--service {}: max is {}, below {} of {:g}ns, so every request would "
          "be cut to it; raise it",
          kind, Shown(text),
          out.shape == Shape::kPareto ? "the smallest value" : "the mean",
          out.scale_ns));
    }
    out.limit_ns = *limit;
  }
  if (!settings.empty()) {
    return Wrong(fmt::format("--service {}: unknown key '{}'; known are {}",
                             kind, Shown(settings.begin()->first), keys));
  }
  return {};
}

Result<RequestClass> ReadLognormal(std::string_view text) {
  auto settings = ReadSettings("lognormal", text);
  if (!settings) return tl::unexpected(settings.error());
  RequestClass out{.name = "all", .shape = Shape::kLognormal};
  const Result<double> mean =
      ScaleNanos(Take(*settings, "mean"), "--service lognormal: mean");
  if (!mean) return tl::unexpected(mean.error());
  const Result<double> sigma = ParseNumber(Take(*settings, "sigma"),
                                           "--service lognormal: sigma", 0, 10);
  if (!sigma) return tl::unexpected(sigma.error());
  out.scale_ns = *mean;
  out.form = *sigma;
  if (auto ok =
          FinishHeavyTail("lognormal", "mean, sigma, max", *settings, out);
      !ok) {
    return tl::unexpected(ok.error());
  }
  return out;
}

Result<RequestClass> ReadPareto(std::string_view text) {
  auto settings = ReadSettings("pareto", text);
  if (!settings) return tl::unexpected(settings.error());
  RequestClass out{.name = "all", .shape = Shape::kPareto};
  const Result<double> alpha = ParseNumber(Take(*settings, "alpha"),
                                           "--service pareto: alpha", 0.1, 100);
  if (!alpha) return tl::unexpected(alpha.error());
  out.form = *alpha;
  const std::string_view min = Take(*settings, "min");
  const std::string_view mean = Take(*settings, "mean");
  if (min.empty() == mean.empty()) {
    return Wrong(
        "--service pareto: needs exactly one of min= and mean=, for "
        "example pareto:alpha=1.5,min=1us");
  }
  if (!mean.empty() && *alpha <= 1) {
    return Wrong(
        fmt::format("--service pareto: with alpha={} the mean is "
                    "infinite; give min= instead of mean=",
                    *alpha));
  }
  const Result<double> scale = min.empty()
                                   ? ScaleNanos(mean, "--service pareto: mean")
                                   : ScaleNanos(min, "--service pareto: min");
  if (!scale) return tl::unexpected(scale.error());
  out.scale_ns = min.empty() ? *scale * (*alpha - 1) / *alpha : *scale;
  if (auto ok =
          FinishHeavyTail("pareto", "alpha, min, mean, max", *settings, out);
      !ok) {
    return tl::unexpected(ok.error());
  }
  return out;
}

// Checks that the shares add up to 100% and the names differ.
Result<void> CheckClasses(const std::vector<RequestClass>& classes) {
  double sum = 0;
  for (size_t i = 0; i < classes.size(); ++i) {
    sum += classes[i].share;
    for (size_t j = 0; j < i; ++j) {
      if (classes[i].name == classes[j].name) {
        return Wrong(fmt::format(
            "--service names '{}' twice; add the shares up", classes[i].name));
      }
    }
  }
  if (std::abs(sum - 1) > kShareTolerance) {
    return Wrong(fmt::format(
        "--service: the shares add up to {:.6g}%; they must add up to 100%",
        sum * 100));
  }
  return {};
}

Result<std::vector<RequestClass>> ReadModes(std::string_view kind,
                                            std::string_view text) {
  const std::vector<std::string_view> parts = Split(text, ',');
  const size_t wanted = kind == "bimodal" ? 2 : kind == "trimodal" ? 3 : 0;
  if ((wanted != 0 && parts.size() != wanted) || parts.size() > kMaxClasses) {
    return Wrong(fmt::format(
        "--service {}: {} modes given; it takes {}", kind, parts.size(),
        wanted != 0 ? fmt::format("{}", wanted)
                    : fmt::format("1 to {}", kMaxClasses)));
  }
  std::vector<RequestClass> classes;
  for (const std::string_view part : parts) {
    const size_t colon = part.find(':');
    if (colon == std::string_view::npos) {
      return Wrong(
          fmt::format("--service {}: '{}' is not SHARE:TIME, "
                      "for example 99.5%:5us",
                      kind, Shown(part)));
    }
    const Result<double> share = ParseShare(
        part.substr(0, colon), fmt::format("--service {}: share", kind));
    if (!share) return tl::unexpected(share.error());
    const Result<double> time = TimeNanos(
        part.substr(colon + 1), fmt::format("--service {}: time", kind));
    if (!time) return tl::unexpected(time.error());
    classes.push_back(
        {.name = FormatTime(Duration(static_cast<int64_t>(*time))),
         .share = *share,
         .scale_ns = *time});
  }
  if (auto ok = CheckClasses(classes); !ok) return tl::unexpected(ok.error());
  return classes;
}

// The N of "mgetN" or "scanN".
Result<unsigned> ReadKeys(std::string_view name, std::string_view operation,
                          unsigned most) {
  const Result<double> keys =
      ParseNumber(name.substr(operation.size()),
                  fmt::format("--service {}N: N", operation), 1, most);
  if (!keys) return tl::unexpected(keys.error());
  if (*keys != std::floor(*keys)) {
    return Wrong(
        fmt::format("--service {}: N must be a whole number", Shown(name)));
  }
  return static_cast<unsigned>(*keys);
}

Result<RequestClass> ReadOperation(Application application,
                                   std::string_view name) {
  const bool kv = application == Application::kKv;
  const std::string_view many = kv ? "mget" : "scan";
  RequestClass out{.name = std::string(name)};
  if (name == "get") return out;
  if (name == (kv ? "set" : "put")) {
    out.operation = KvOperation::kSet;
    return out;
  }
  if (name.starts_with(many)) {
    const Result<unsigned> keys =
        ReadKeys(name, many, kv ? kMaxKeysPerGet : kMaxKeysPerScan);
    if (!keys) return tl::unexpected(keys.error());
    out.operation = kv ? KvOperation::kGet : KvOperation::kScan;
    out.keys = *keys;
    return out;
  }
  return Wrong(fmt::format(
      "--service: '{}' is no operation of {}; known are {}", Shown(name),
      ToString(application),
      kv ? "get, set and mgetN, for example get:99.5%,mget500:0.5%"
         : "get, put and scanN, for example get:99.5%,scan1000:0.5%"));
}

}  // namespace

std::string_view ToString(Application application) {
  switch (application) {
    case Application::kSpin:
      return "spin";
    case Application::kKv:
      return "kv";
    case Application::kRocksdb:
      return "rocksdb";
  }
  return "unknown";
}

Result<Workload> Workload::ParseSpin(std::string_view text) {
  Workload out;
  const size_t colon = text.find(':');
  const std::string_view kind = text.substr(0, colon);
  const std::string_view rest = colon == std::string_view::npos
                                    ? std::string_view()
                                    : text.substr(colon + 1);
  if (kind == "fixed" || kind == "exp") {
    const std::string field = fmt::format("--service {}: time", kind);
    const Result<double> time =
        kind == "exp" ? ScaleNanos(rest, field) : TimeNanos(rest, field);
    if (!time) return tl::unexpected(time.error());
    RequestClass all{.name = "all", .scale_ns = *time};
    if (kind == "exp") {
      all.shape = Shape::kExponential;
      all.limit_ns = kLongestSampleNanos;
    }
    out.classes_ = {all};
  } else if (kind == "bimodal" || kind == "trimodal" || kind == "mixture") {
    auto classes = ReadModes(kind, rest);
    if (!classes) return tl::unexpected(classes.error());
    out.classes_ = std::move(*classes);
  } else if (kind == "lognormal" || kind == "pareto") {
    auto one = kind == "pareto" ? ReadPareto(rest) : ReadLognormal(rest);
    if (!one) return tl::unexpected(one.error());
    out.classes_ = {*one};
  } else {
    return Wrong(fmt::format(
        "--service: '{}' is no distribution; known are fixed, exp, bimodal, "
        "trimodal, mixture, lognormal and pareto, for example exp:10us",
        Shown(kind)));
  }
  return out;
}

Result<Workload> Workload::ParseStore(Application application,
                                      std::string_view text) {
  Workload out;
  const std::vector<std::string_view> parts = Split(text, ',');
  if (parts.size() > kMaxClasses) {
    return Wrong(
        fmt::format("--service: {} classes given; at most {} are kept apart",
                    parts.size(), kMaxClasses));
  }
  for (const std::string_view part : parts) {
    const size_t colon = part.find(':');
    auto one = ReadOperation(application, part.substr(0, colon));
    if (!one) return tl::unexpected(one.error());
    if (colon != std::string_view::npos) {
      const Result<double> share =
          ParseShare(part.substr(colon + 1),
                     fmt::format("--service {}: share", one->name));
      if (!share) return tl::unexpected(share.error());
      one->share = *share;
    }
    out.classes_.push_back(std::move(*one));
  }
  if (auto ok = CheckClasses(out.classes_); !ok)
    return tl::unexpected(ok.error());
  return out;
}

Result<Workload> Workload::Parse(Application application,
                                 std::string_view text) {
  Result<Workload> out =
      IsStore(application) ? ParseStore(application, text) : ParseSpin(text);
  if (out) {
    out->application_ = application;
    out->text_ = text;
  }
  return out;
}

uint8_t Workload::DrawClass(base::Random& random) const {
  double left = random.Uniform();
  for (size_t i = 0; i + 1 < classes_.size(); ++i) {
    left -= classes_[i].share;
    if (left < 0) return static_cast<uint8_t>(i);
  }
  return static_cast<uint8_t>(classes_.size() - 1);
}

double Workload::DrawHeavyTail(const RequestClass& c, base::Random& random) {
  if (c.shape == Shape::kPareto) return random.Pareto(c.scale_ns, c.form);
  // The mean of a lognormal is exp(mu + sigma^2 / 2).
  return c.scale_ns * std::exp(c.form * random.Normal() - c.form * c.form / 2);
}

double Workload::MeanServiceNanos() const {
  double mean = 0;
  for (const RequestClass& c : classes_) {
    double of_class = c.scale_ns;
    if (c.shape == Shape::kPareto) {
      of_class = c.form > 1 ? c.scale_ns * c.form / (c.form - 1)
                            : std::numeric_limits<double>::infinity();
    }
    mean += c.share * of_class;
  }
  return mean;
}

}  // namespace yamanote::load
