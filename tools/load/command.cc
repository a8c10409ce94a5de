// command.cc - flags of `yamanote load`, one measurement, its output.

#include "tools/load/command.h"

#include <fmt/format.h>
#include <sched.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>

#include "tools/command.h"
#include "tools/load/measure.h"
#include "tools/load/search.h"
#include "tools/load/table.h"
#include "tools/load/units.h"
#include "tools/report/report.h"
#include "tools/version/build_info.h"

namespace yamanote::tools {
namespace {

using namespace yamanote::load;  // The engine's own subcommand.

struct Flags {
  std::string target;
  std::string rate;
  std::string rates;
  std::string objective;
  std::string rate_range;
  double precision = 0.05;
  bool undisturbed = false;
  double duration = 5;
  double warmup = 0.5;
  double drain = 1;
  std::string service;
  std::string protocol = "";
  std::string arrivals = "poisson";
  unsigned connections = 16;
  unsigned threads = 1;
  unsigned repeat = 1;
  uint64_t seed = 1;
  std::string cpus;
  double gap_threshold_us = 20;
  uint32_t keys = 10'000;
  uint32_t value_bytes = 100;
  std::string popularity = "uniform";
  std::string json;
  std::string html;
  std::string record;
  std::string label;
  bool progress = false;
};

constexpr char kExamples[] =
    "Examples:\n"
    "  yamanote load spin --target 127.0.0.1:9000 --rate 20k --duration 5 \\\n"
    "      --service bimodal:99.5%:5us,0.5%:500us --protocol udp\n"
    "  yamanote load kv --target 127.0.0.1:11211 --rates 10k,20k,40k --repeat 3 \\\n"
    "      --service get:99.5%,mget500:0.5% --json kv.json\n"
    "  yamanote load spin --target 127.0.0.1:9000 --service exp:10us \\\n"
    "      --objective 'p99-slowdown<=10' --rate-range 5k:100k\n"
    "\n"
    "Latency counts from the time a request was due, also if it was sent late;\n"
    "unanswered requests are infinite. docs/load.md explains every figure.";

template <typename T>
T OrUsage(Result<T> result) {
  if (!result) Fail(result.error().message, kUsage);
  return std::move(*result);
}

template <typename T>
T OrFail(Result<T> result) {
  if (!result) {
    Fail(result.error().message,
         result.error().code == ErrorCode::kInvalidArgument ? kUsage : kFailed);
  }
  return std::move(*result);
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
    const auto first =
        static_cast<int>(OrUsage(ParseNumber(part.substr(0, dash), field, 0, 1023)));
    const auto last = dash == std::string_view::npos
                          ? first
                          : static_cast<int>(OrUsage(ParseNumber(
                                part.substr(dash + 1), field, first, 1023)));
    for (int cpu = first; cpu <= last; ++cpu) {
      if (!CPU_ISSET(static_cast<size_t>(cpu), &allowed)) {
        Fail(fmt::format("--cpus names cpu {}, which this process may not use; `nproc` "
                         "and `taskset -p $$` show which it may",
                         cpu),
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
  const bool kv = application == Application::kKv;
  out.target = OrUsage(ParseTarget(flags.target));
  const std::string protocol = !flags.protocol.empty() ? flags.protocol : kv ? "tcp" : "udp";
  out.transport = protocol == "tcp" ? Transport::kTcp : Transport::kUdp;
  out.workload = OrUsage(Workload::Parse(
      application, flags.service.empty() && kv ? "get" : flags.service));
  out.arrivals = OrUsage(Arrivals::Parse(flags.arrivals));
  out.kv.keys = flags.keys;
  out.kv.value_bytes = flags.value_bytes;
  out.kv.popularity = OrUsage(Popularity::Parse(flags.popularity));
  out.connections = flags.connections;
  out.threads = flags.threads;
  if (out.threads > out.connections) {
    Fail(fmt::format("--threads is {} and --connections {}; each thread needs at least "
                     "one connection of its own: raise --connections",
                     out.threads, out.connections),
         kUsage);
  }
  out.repeat = flags.repeat;
  out.seed = flags.seed;
  out.duration = Seconds(flags.duration);
  out.warmup = Seconds(flags.warmup);
  out.drain = Seconds(flags.drain);
  out.gap_threshold = Seconds(flags.gap_threshold_us / 1e6);
  out.cpus = ReadCpus(flags.cpus);
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
  const int given = !flags.rate.empty() + !flags.rates.empty() + !flags.objective.empty();
  if (given != 1) {
    Fail(fmt::format("{} of --rate, --rates and --objective were given; give exactly one",
                     given),
         kUsage);
  }
  Task out;
  if (!flags.rate.empty()) out.rates.push_back(OrUsage(ParseRate(flags.rate, "--rate")));
  if (!flags.rates.empty()) {
    for (const std::string_view rate : Split(flags.rates, ',')) {
      out.rates.push_back(OrUsage(ParseRate(rate, "--rates")));
    }
  }
  if (flags.objective.empty()) return out;
  const std::vector<std::string_view> range = Split(flags.rate_range, ':');
  if (range.size() != 2) {
    Fail(fmt::format("--rate-range is '{}'; --objective needs LOW:HIGH, for example "
                     "--rate-range 5k:100k",
                     flags.rate_range),
         kUsage);
  }
  SearchOptions search;
  search.objective = OrUsage(Objective::Parse(flags.objective, workload));
  search.objective.samples = flags.undisturbed ? Samples::kUndisturbed : Samples::kAll;
  search.low_rps = OrUsage(ParseRate(range[0], "--rate-range LOW"));
  search.high_rps = OrUsage(ParseRate(range[1], "--rate-range HIGH"));
  search.precision = flags.precision;
  if (search.low_rps >= search.high_rps) {
    Fail(fmt::format("--rate-range is '{}'; LOW must be below HIGH", flags.rate_range),
         kUsage);
  }
  out.search = search;
  return out;
}

Measurement* g_running = nullptr;  // For the signal handler only.

void OnSignal(int) {
  if (g_running != nullptr) g_running->Stop();
}

// Ends the measurement in good order on SIGINT and SIGTERM.
class SignalScope {
 public:
  explicit SignalScope(Measurement& measurement) {
    g_running = &measurement;
    struct sigaction action {};
    action.sa_handler = OnSignal;
    action.sa_flags = SA_RESETHAND;  // A second signal kills.
    sigaction(SIGINT, &action, &old_interrupt_);
    sigaction(SIGTERM, &action, &old_terminate_);
  }
  ~SignalScope() {
    sigaction(SIGINT, &old_interrupt_, nullptr);
    sigaction(SIGTERM, &old_terminate_, nullptr);
    g_running = nullptr;
  }

 private:
  struct sigaction old_interrupt_ {};
  struct sigaction old_terminate_ {};
};

void ShowProgress(Measurement& measurement) {
  measurement.set_progress([](uint64_t due, uint64_t total, double seconds) {
    fmt::print(stderr, "\r  {:5.1f} s  {:3.0f}%  {} of {} requests due\033[K", seconds,
               100.0 * static_cast<double>(due) / static_cast<double>(total), due, total);
    std::fflush(stderr);
  });
}

void WriteJson(const std::string& path, const LoadResult& result) {
  const std::string text = ToJson(result).dump(2) + "\n";
  if (path == "-") {
    std::fputs(text.c_str(), stdout);
    return;
  }
  std::ofstream file(path);
  file << text;
  file.close();
  if (!file) {
    Fail(fmt::format("--json {}: {}; choose a path that can be written", path,
                     ErrnoText(errno)));
  }
}

void WriteHtml(const std::string& path, const LoadResult& result, const Task& task) {
  report::Report page;
  page.results = {result};
  page.machine = report::MachineFacts();
  if (task.search) {
    // The page draws one limit; the first is the one the search prints.
    const Limit& first = task.search->objective.limits.front();
    const bool latency = first.quantity == Limit::Quantity::kLatency;
    std::string percentile = first.quantile == "p99.9" ? "p999" : first.quantile;
    if (percentile == "p50" || percentile == "p99" || percentile == "p999") {
      page.objective = report::Objective{.request_class = first.request_class,
                                         .percentile = std::move(percentile),
                                         .kind = latency ? "latency" : "slowdown",
                                         .limit = first.limit};
    }
  }
  if (auto written = report::Write(page, path); !written) {
    Fail("--html " + path + ": " + written.error().message);
  }
}

void RunTask(const Flags& flags, const Task& task, Measurement& measurement,
             LoadResult& result) {
  const bool terminal = flags.progress || isatty(STDERR_FILENO) != 0;
  if (terminal) ShowProgress(measurement);
  const auto clear = [terminal] {
    if (terminal) std::fputs("\r\033[K", stderr);
  };
  if (task.search) {
    fmt::print(stderr, "searching for the highest load that meets {}\n",
               task.search->objective.text);
    auto outcome = OrFail(Search(
        *task.search, [&](double rps) { return measurement.Measure(rps); },
        [&](const SearchStep& step) {
          clear();
          fmt::print(stderr, "{}\n", FormatStep(step));
        },
        [&] { return measurement.stopped(); }));
    result.points = std::move(outcome.points);
    result.search = std::move(outcome.search);
    return;
  }
  for (const double rate : task.rates) {
    if (measurement.stopped()) break;
    result.points.push_back(OrFail(measurement.Measure(rate)));
    clear();
  }
}

void RunLoad(Application application, const Flags& flags) {
  LoadOptions options = ReadOptions(application, flags);
  const Task task = ReadTask(flags, options.workload);
  Measurement measurement(std::move(options));
  const SignalScope signals(measurement);
  if (auto ready = measurement.Prepare(); !ready) Fail(ready.error().message);
  LoadResult result = measurement.Describe();
  result.version = GetBuildInfo().version;
  RunTask(flags, task, measurement, result);

  std::fputs(FormatTable(result).c_str(), flags.json == "-" ? stderr : stdout);
  if (!flags.json.empty()) WriteJson(flags.json, result);
  if (!flags.html.empty()) WriteHtml(flags.html, result, task);
  if (result.search) {
    if (result.search->best_rps == 0) Fail("no load in --rate-range meets the objective");
    return;
  }
  for (const PointResult& point : result.points) {
    if (!point.valid) Fail("at least one point is invalid; see above why");
  }
}

void AddFlags(CLI::App& command, Flags& flags, Application application) {
  const bool kv = application == Application::kKv;
  command.add_option("--target", flags.target, "ADDRESS:PORT of the server")->required();
  command.add_option("--rate", flags.rate, "Requests per second: 20000, 20k");
  command.add_option("--rates", flags.rates, "Several loads, one point each: 10k,20k,40k");
  command.add_option("--objective", flags.objective,
                     "Find the highest load that meets this: p99-slowdown<=10, "
                     "get:p99.9-latency<=300us; several with commas");
  command.add_option("--rate-range", flags.rate_range,
                     "LOW:HIGH between which --objective searches: 5k:100k");
  command.add_option("--precision", flags.precision, "The search ends at this relative width")
      ->check(CLI::Range(0.001, 1.0))
      ->capture_default_str();
  command.add_flag("--undisturbed", flags.undisturbed,
                   "Judge --objective without the samples that a gap touched");
  auto* service = command.add_option(
      "--service", flags.service,
      kv ? "Operations: get (default), set, mgetN; get:99.5%,mget500:0.5%"
         : "Service times: fixed:10us, exp:10us, bimodal:99.5%:5us,0.5%:500us, "
           "lognormal:mean=10us,sigma=2, pareto:alpha=1.5,min=1us");
  if (!kv) service->required();
  command.add_option("--protocol", flags.protocol,
                     kv ? "tcp (default) or udp" : "udp (default) or tcp")
      ->check(CLI::IsMember({"tcp", "udp"}));
  command.add_option("--duration", flags.duration, "Seconds measured, after the warm-up")
      ->check(CLI::Range(0.01, 3600.0))
      ->capture_default_str();
  command.add_option("--warmup", flags.warmup, "Seconds of load before, cut from the figures")
      ->check(CLI::Range(0.0, 600.0))
      ->capture_default_str();
  command.add_option("--drain", flags.drain, "Seconds to wait for the last answers")
      ->check(CLI::Range(0.01, 60.0))
      ->capture_default_str();
  command.add_option("--seed", flags.seed, "Of the schedule; the same seed, the same schedule")
      ->capture_default_str();
  command.add_option("--repeat", flags.repeat, "Runs of a point, with seeds from --seed up")
      ->check(CLI::Range(1u, kMaxRepeats))
      ->capture_default_str();
  command.add_option("--arrivals", flags.arrivals, "poisson, fixed or burst:N")
      ->capture_default_str();
  command.add_option("--connections", flags.connections, "Sockets, each its own flow")
      ->check(CLI::Range(1u, kMaxConnections))
      ->capture_default_str();
  command.add_option("--threads", flags.threads, "Sending threads; each keeps a core busy")
      ->check(CLI::Range(1u, kMaxThreads))
      ->capture_default_str();
  command.add_option("--cpus", flags.cpus, "Pin the threads to these: 2,3 or 2-3");
  command.add_option("--gap-threshold", flags.gap_threshold_us,
                     "Microseconds off the core that tag the samples around them")
      ->check(CLI::Range(1.0, 1e6))
      ->capture_default_str();
  if (kv) {
    command.add_option("--keys", flags.keys, "Keys in the store; stored before the run")
        ->check(CLI::Range(1u, 10'000'000u))
        ->capture_default_str();
    command.add_option("--value-bytes", flags.value_bytes, "Length of every value")
        ->check(CLI::Range(1u, 1'000'000u))
        ->capture_default_str();
    command.add_option("--popularity", flags.popularity, "uniform or zipf:S")
        ->capture_default_str();
  }
  command.add_option("--json", flags.json, "Write the result to this file; - is standard output");
  command.add_option("--html", flags.html, "Write a self-contained report to this file");
  command.add_option("--record", flags.record, "Write every request to this CSV file");
  command.add_option("--label", flags.label, "Names the curve in reports");
  command.add_flag("--progress", flags.progress, "Show progress even without a terminal");
}

}  // namespace

void AddLoadCommand(CLI::App& app) {
  CLI::App* const load =
      app.add_subcommand("load", "Measure a service's latency under an open load");
  load->footer(kExamples);
  load->require_subcommand(1);
  const auto add = [&](const char* name, const char* text, Application application) {
    CLI::App* const command = load->add_subcommand(name, text);
    const auto flags = std::make_shared<Flags>();
    AddFlags(*command, *flags, application);
    command->footer(kExamples);
    command->callback([flags, application] { RunLoad(application, *flags); });
  };
  add("spin", "Requests that carry the service time to burn", Application::kSpin);
  add("kv", "Requests of memcached's text protocol", Application::kKv);
}

}  // namespace yamanote::tools
