// command.cc - flags of `yamanote load`, one measurement, its output.

#include "tools/load/command.h"

#include <fmt/format.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "tools/command.h"
#include "tools/load/flags.h"
#include "tools/load/measure.h"
#include "tools/load/search.h"
#include "tools/load/table.h"
#include "tools/load/units.h"
#include "tools/output/json.h"
#include "tools/output/output.h"
#include "tools/report/report.h"
#include "tools/version/build_info.h"

namespace yamanote::tools {
namespace {

using namespace yamanote::load;  // The engine's own subcommand.

template <typename T>
T OrUsage(Result<T> result) {
  if (!result) Fail(result.error().message, kUsage);
  return std::move(*result);
}

void OrFail(const Result<void>& result) {
  if (result) return;
  Fail(result.error().message,
       result.error().code == ErrorCode::kInvalidArgument ? kUsage : kFailed);
}

// Reads "0,2-3" and checks that this process may run there.
std::vector<int> ReadCpus(const std::string& text) {
  std::vector<int> cpus;
  if (text.empty()) return cpus;
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  sched_getaffinity(0, sizeof(allowed), &allowed);
  for (const std::string_view part : Split(text, ',')) {
    const size_t dash = part.find('-');
    const std::string field = fmt::format("--cpus '{}': cpu", text);
    const auto first = static_cast<int>(
        OrUsage(ParseNumber(part.substr(0, dash), field, 0, 1023)));
    const auto last = dash == std::string_view::npos
                          ? first
                          : static_cast<int>(OrUsage(ParseNumber(
                                part.substr(dash + 1), field, first, 1023)));
    for (int cpu = first; cpu <= last; ++cpu) {
      if (!CPU_ISSET(static_cast<size_t>(cpu), &allowed)) {
        Fail(fmt::format(
                 "--cpus names cpu {}, which this process may not use; `nproc` "
                 "and `taskset -p $$` show which it may",
                 cpu),
             kUsage);
      }
      if (std::ranges::find(cpus, cpu) != cpus.end()) {
        Fail(fmt::format("--cpus is '{}', which names cpu {} twice; name each "
                         "once",
                         text, cpu),
             kUsage);
      }
      cpus.push_back(cpu);
    }
  }
  return cpus;
}

Duration Seconds(double seconds) {
  return Duration(static_cast<int64_t>(seconds * 1e9));
}

LoadOptions ReadOptions(Application application, const Flags& flags) {
  LoadOptions out;
  const bool store = IsStore(application);
  out.target = OrUsage(ParseTarget(flags.target));
  const std::string protocol = !flags.protocol.empty() ? flags.protocol
                               : store                 ? "tcp"
                                                       : "udp";
  out.transport = protocol == "tcp" ? Transport::kTcp : Transport::kUdp;
  out.workload = OrUsage(Workload::Parse(
      application, flags.service.empty() && store ? "get" : flags.service));
  out.arrivals = OrUsage(Arrivals::Parse(flags.arrivals));
  out.kv.keys = flags.keys;
  out.kv.value_bytes = flags.value_bytes;
  out.kv.popularity = OrUsage(Popularity::Parse(flags.popularity));
  for (const RequestClass& one : out.workload.classes()) {
    if (one.operation != KvOperation::kScan || one.keys <= flags.keys) continue;
    Fail(fmt::format("--service: {} reads {} keys and --keys is {}; raise "
                     "--keys or scan fewer",
                     one.name, one.keys, flags.keys),
         kUsage);
  }
  out.connections = flags.connections;
  out.threads = flags.threads;
  if (out.threads > out.connections) {
    Fail(fmt::format(
             "--threads is {} and --connections {}; each thread needs at least "
             "one connection of its own: raise --connections",
             out.threads, out.connections),
         kUsage);
  }
  out.repeat = flags.repeat;
  out.combining =
      flags.combine == "median" ? Combining::kMedian : Combining::kSum;
  out.seed = flags.seed;
  out.duration = Seconds(flags.duration);
  out.warmup = Seconds(flags.warmup);
  out.drain = Seconds(flags.drain);
  if (flags.gap_threshold != "auto") {
    out.gap_threshold =
        Seconds(OrUsage(ParseNumber(flags.gap_threshold,
                                    "--gap-threshold, in microseconds or auto,",
                                    1, 1e6)) /
                1e6);
  }
  out.cpus = ReadCpus(flags.cpus);
  if (!out.cpus.empty() && out.cpus.size() < out.threads) {
    Fail(
        fmt::format(
            "--threads is {} and --cpus names {}; threads that share a cpu are "
            "late: name one for each, or use fewer --threads",
            out.threads, out.cpus.size()),
        kUsage);
  }
  out.record_path = flags.record;
  out.label = flags.label;
  return out;
}

// The rates to measure, or the search to make.
struct Task {
  std::vector<double> rates;
  std::optional<SearchOptions> search;
};

Task ReadTask(const Flags& flags, const Workload& workload) {
  const int given =
      !flags.rate.empty() + !flags.rates.empty() + !flags.objective.empty();
  if (given != 1) {
    Fail(fmt::format("{} of --rate, --rates and --objective were given; "
                     "give exactly one",
                     given),
         kUsage);
  }
  Task out;
  if (!flags.rate.empty())
    out.rates.push_back(OrUsage(ParseRate(flags.rate, "--rate")));
  if (!flags.rates.empty()) {
    for (const std::string_view rate : Split(flags.rates, ',')) {
      out.rates.push_back(OrUsage(ParseRate(rate, "--rates")));
    }
  }
  if (flags.objective.empty()) return out;
  const std::vector<std::string_view> range = Split(flags.rate_range, ':');
  if (range.size() != 2) {
    Fail(fmt::format(
             "--rate-range is '{}'; --objective needs LOW:HIGH, for example "
             "--rate-range 5k:100k",
             flags.rate_range),
         kUsage);
  }
  SearchOptions search;
  search.objective = OrUsage(Objective::Parse(flags.objective, workload));
  search.objective.samples =
      flags.undisturbed ? Samples::kUndisturbed : Samples::kAll;
  search.low_rps = OrUsage(ParseRate(range[0], "--rate-range LOW"));
  search.high_rps = OrUsage(ParseRate(range[1], "--rate-range HIGH"));
  search.precision = flags.precision;
  if (search.low_rps >= search.high_rps) {
    Fail(fmt::format("--rate-range is '{}'; LOW must be below HIGH",
                     flags.rate_range),
         kUsage);
  }
  out.search = search;
  return out;
}

Measurement* g_running = nullptr;  // For the signal handler only.

void OnSignal(int) {
  if (g_running != nullptr) g_running->Stop();
}

// Ends the measurement in good order on SIGINT, SIGTERM and, unless it was
// ignored (nohup), SIGHUP.
class SignalScope {
 public:
  explicit SignalScope(Measurement& measurement) {
    g_running = &measurement;
    struct sigaction action{};
    action.sa_handler = OnSignal;
    action.sa_flags = SA_RESETHAND;  // A second signal kills.
    sigaction(SIGINT, &action, &old_interrupt_);
    sigaction(SIGTERM, &action, &old_terminate_);
    sigaction(SIGHUP, nullptr, &old_hangup_);
    if (old_hangup_.sa_handler != SIG_IGN) sigaction(SIGHUP, &action, nullptr);
  }
  ~SignalScope() {
    sigaction(SIGINT, &old_interrupt_, nullptr);
    sigaction(SIGTERM, &old_terminate_, nullptr);
    sigaction(SIGHUP, &old_hangup_, nullptr);
    g_running = nullptr;
  }

 private:
  struct sigaction old_interrupt_{};
  struct sigaction old_terminate_{};
  struct sigaction old_hangup_{};
};

void ShowProgress(Measurement& measurement) {
  measurement.set_progress([](uint64_t due, uint64_t total, double seconds) {
    fmt::print(stderr, "\r  {:5.1f} s  {:3.0f}%  {} of {} requests due\033[K",
               seconds,
               100.0 * static_cast<double>(due) / static_cast<double>(total),
               due, total);
    std::fflush(stderr);
  });
}

void WriteJson(const std::string& path, const LoadResult& result) {
  const std::string text = tools::JsonText(ToJson(result), 2) + "\n";
  if (path == "-") {
    std::fputs(text.c_str(), stdout);
    return;
  }
  if (auto written = WriteFile("--json", path, text); !written)
    Fail(written.error().message);
}

void WriteHtml(const std::string& path, const LoadResult& result,
               const Task& task) {
  report::Report page;
  page.results = {result};
  page.machine = report::MachineFacts();
  if (task.search) {
    // The page draws one limit; the first is the one the search prints.
    const Limit& first = task.search->objective.limits.front();
    const bool latency = first.quantity == Limit::Quantity::kLatency;
    std::string percentile =
        first.quantile == "p99.9" ? "p999" : first.quantile;
    if (percentile == "p50" || percentile == "p99" || percentile == "p999") {
      page.objective =
          report::Objective{.request_class = first.request_class,
                            .percentile = std::move(percentile),
                            .kind = latency ? "latency" : "slowdown",
                            .limit = first.limit};
    }
  }
  if (auto written = report::Write(page, "--html", path); !written) {
    Fail(written.error().message);
  }
}

// Measures `task` into `result`. If that fails, what was measured before stays.
Result<void> RunTask(const Flags& flags, const Task& task,
                     Measurement& measurement, LoadResult& result) {
  const bool terminal = flags.progress || isatty(STDERR_FILENO) != 0;
  if (terminal) ShowProgress(measurement);
  const auto clear = [terminal] {
    if (terminal) std::fputs("\r\033[K", stderr);
  };
  if (task.search) {
    fmt::print(stderr, "searching for the highest load that meets {}\n",
               task.search->objective.text);
    auto outcome = Search(
        *task.search,
        [&](double rps) {
          auto point = measurement.Measure(rps);
          if (point) result.points.push_back(*point);
          return point;
        },
        [&](const SearchStep& step) {
          clear();
          fmt::print(stderr, "{}\n", FormatStep(step));
        },
        [&] { return measurement.stopped(); });
    if (!outcome) return tl::unexpected(outcome.error());
    result.points = std::move(outcome->points);
    result.search = std::move(outcome->search);
    return {};
  }
  for (const double rate : task.rates) {
    if (measurement.stopped()) break;
    Result<PointResult> point = measurement.Measure(rate);
    clear();
    if (!point) return tl::unexpected(point.error());
    result.points.push_back(*std::move(point));
  }
  return {};
}

// Refuses files that can't be written before, not after, minutes of measuring.
void CheckFiles(const Flags& flags) {
  const std::pair<const char*, const std::string&> files[] = {
      {"--json", flags.json},
      {"--html", flags.html},
      {"--record", flags.record}};
  for (const auto& [flag, path] : files) {
    if (path.empty() || (path == "-" && &path == &flags.json)) continue;
    if (path == "-") {
      Fail(fmt::format("{} is '-'; only --json can go to standard output: name "
                       "a file (./- if it shall be called that)",
                       flag),
           kUsage);
    }
    if (auto ok = CheckWritable(flag, path); !ok)
      Fail(ok.error().message, kUsage);
    for (const auto& [other_flag, other] : files) {
      if (&other == &path) break;
      if (!SameFile(path, other)) continue;
      Fail(fmt::format("{} and {} are one file, '{}'; give each its own",
                       other_flag, flag, path),
           kUsage);
    }
  }
}

void RunLoad(Application application, const Flags& flags) {
  LoadOptions options = ReadOptions(application, flags);
  const Task task = ReadTask(flags, options.workload);
  CheckFiles(flags);
  Measurement measurement(std::move(options));
  const SignalScope signals(measurement);
  if (auto ready = measurement.Prepare(); !ready) Fail(ready.error().message);
  LoadResult result = measurement.Describe();
  result.version = GetBuildInfo().version;
  const Result<void> measured = RunTask(flags, task, measurement, result);

  if (!result.points.empty()) {
    std::fputs(FormatTable(result).c_str(),
               flags.json == "-" ? stderr : stdout);
  }
  if (!flags.json.empty()) WriteJson(flags.json, result);
  if (!flags.html.empty() && !result.points.empty())
    WriteHtml(flags.html, result, task);
  OrFail(measured);
  OrFail(measurement.recording());
  if (!task.search && result.points.size() < task.rates.size()) {
    Fail(fmt::format("interrupted: {} of {} loads were measured",
                     result.points.size(), task.rates.size()));
  }
  if (result.search) {
    if (result.search->best_rps == 0)
      Fail("no load in --rate-range meets the objective");
    return;
  }
  for (const PointResult& point : result.points) {
    if (!point.valid) Fail("at least one point is invalid; see above why");
  }
}

}  // namespace

void AddLoadCommand(CLI::App& app) {
  CLI::App* const load = app.add_subcommand(
      "load", "Measure a service's latency under an open load");
  load->footer(LoadFooter());
  load->require_subcommand(1);
  const auto add = [&](const char* name, const char* text,
                       Application application) {
    CLI::App* const command = load->add_subcommand(name, text);
    const auto flags = std::make_shared<Flags>();
    AddFlags(*command, *flags, application);
    command->callback([flags, application] { RunLoad(application, *flags); });
  };
  add("spin", "Requests that carry the service time to burn",
      Application::kSpin);
  add("kv", "Requests of memcached's text protocol", Application::kKv);
  add("rocksdb", "Requests of Redis's protocol, with scans",
      Application::kRocksdb);
}

}  // namespace yamanote::tools
