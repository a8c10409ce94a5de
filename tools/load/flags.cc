// flags.cc - each flag with its unit, limits and default.

#include "tools/load/flags.h"

#include "tools/command.h"
#include "tools/load/measure.h"

namespace yamanote::load {
namespace {

using tools::OneOf;
using tools::Within;

constexpr char kLatencyCounts[] =
    "Latency counts from the time a request was due, also if it was sent "
    "late;\n"
    "unanswered requests are infinite. docs/load.md explains every figure.\n"
    "\n"
    "Examples:\n";
constexpr char kSpinExample[] =
    "  yamanote load spin --target 127.0.0.1:9000 --rate 20k --duration 5 \\\n"
    "      --service bimodal:99.5%:5us,0.5%:500us --protocol udp\n";
constexpr char kKvExample[] =
    "  yamanote load kv --target 127.0.0.1:11211 --rates 10k,20k,40k --repeat "
    "3 \\\n"
    "      --service get:99.5%,mget500:0.5% --json kv.json --html kv.html\n";
constexpr char kRocksdbExample[] =
    "  yamanote load rocksdb --target 127.0.0.1:6379 --rates 5k,10k,20k \\\n"
    "      --service get:99.5%,scan1000:0.5%\n";
constexpr char kSpinSearch[] =
    "  yamanote load spin --target 127.0.0.1:9000 --service exp:10us \\\n"
    "      --objective 'p99-slowdown<=10' --rate-range 5k:100k --protocol udp";
constexpr char kKvSearch[] =
    "  yamanote load kv --target 127.0.0.1:11211 --rate-range 5k:100k \\\n"
    "      --service get:99.5%,mget500:0.5% --objective "
    "'get:p99-latency<=300us'";
constexpr char kRocksdbSearch[] =
    "  yamanote load rocksdb --target 127.0.0.1:6379 --rate-range 2k:50k \\\n"
    "      --service get:99.5%,scan5000:0.5% --objective "
    "'get:p99-latency<=300us'";

const char* ServiceHelp(Application application) {
  switch (application) {
    case Application::kKv:
      return "Operations get, set, mgetN and their shares: "
             "get:99.5%,mget500:0.5%";
    case Application::kRocksdb:
      return "Operations get, put, scanN (N keys in order) and their shares: "
             "get:99.5%,scan1000:0.5%";
    case Application::kSpin:
      break;
  }
  return "Service times: fixed:10us, exp:10us, bimodal:99.5%:5us,0.5%:500us, "
         "lognormal:mean=10us,sigma=2, pareto:alpha=1.5,min=1us";
}

// What to measure: the target, its requests, the loads.
void AddTaskFlags(CLI::App& command, Flags& flags, Application application) {
  const bool store = IsStore(application);
  command.add_option("--target", flags.target, "The server, as ADDRESS:PORT")
      ->type_name("ADDRESS")
      ->required();
  command.add_option("--rate", flags.rate, "Requests per second: 20000, 20k")
      ->type_name("RPS");
  command
      .add_option("--rates", flags.rates,
                  "Several loads, one point each: 10k,20k,40k")
      ->type_name("RPS,...");
  auto* const objective =
      command
          .add_option(
              "--objective", flags.objective,
              "Find the highest load that meets this: p99-slowdown<=10, "
              "get:p99.9-latency<=300us; several with commas")
          ->type_name("LIMITS");
  command
      .add_option("--rate-range", flags.rate_range,
                  "LOW:HIGH between which --objective searches: 5k:100k")
      ->needs(objective)
      ->type_name("RPS");
  command
      .add_option("--precision", flags.precision,
                  "The search ends when HIGH is at most this share above LOW")
      ->needs(objective)
      ->type_name("SHARE")
      ->check(Within(0.001, 1.0))
      ->capture_default_str();
  command
      .add_flag("--undisturbed", flags.undisturbed,
                "Judge --objective without the samples that a gap touched")
      ->needs(objective);
  auto* service =
      command.add_option("--service", flags.service, ServiceHelp(application));
  service->type_name("DIST");
  store ? service->default_str("get") : service->required();
  command.add_option("--protocol", flags.protocol, "Transport")
      ->type_name("NAME")
      ->check(OneOf({"tcp", "udp"}))
      ->default_str(store ? "tcp" : "udp");
  if (!store) return;
  command
      .add_option("--keys", flags.keys,
                  "Keys in the store; stored before the run")
      ->type_name("COUNT")
      ->check(Within(1u, 10'000'000u))
      ->capture_default_str();
  command
      .add_option("--value-bytes", flags.value_bytes, "Length of every value")
      ->type_name("BYTES")
      ->check(Within(1u, 1'000'000u))
      ->capture_default_str();
  command
      .add_option("--popularity", flags.popularity,
                  "Of keys: uniform, or zipf:S as zipf:0.99")
      ->type_name("DIST")
      ->capture_default_str();
}

// How to measure it: times, seeds, sockets, threads.
void AddMethodFlags(CLI::App& command, Flags& flags) {
  command
      .add_option("--duration", flags.duration,
                  "How long is measured, after the warm-up")
      ->type_name("SECONDS")
      ->check(Within(0.01, 3600.0))
      ->capture_default_str();
  command
      .add_option("--warmup", flags.warmup,
                  "Load before that, cut from the figures")
      ->type_name("SECONDS")
      ->check(Within(0.0, 600.0))
      ->capture_default_str();
  command
      .add_option("--drain", flags.drain,
                  "How long to wait for the last answers")
      ->type_name("SECONDS")
      ->check(Within(0.01, 60.0))
      ->capture_default_str();
  command
      .add_option("--seed", flags.seed,
                  "Of the schedule; the same seed, the same schedule")
      ->type_name("NUMBER")
      ->check(Within(uint64_t{0}, UINT64_MAX - kMaxRepeats))
      ->capture_default_str();
  command
      .add_option("--repeat", flags.repeat,
                  "Runs of a point, with seeds from --seed up")
      ->type_name("COUNT")
      ->check(Within(1u, kMaxRepeats))
      ->capture_default_str();
  command
      .add_option("--combine", flags.combine,
                  "Of these runs: the sum of their samples, or the median of "
                  "each figure, which a stall in a few short runs can't move")
      ->type_name("NAME")
      ->check(OneOf({"sum", "median"}))
      ->capture_default_str();
  command
      .add_option("--arrivals", flags.arrivals,
                  "poisson, fixed, or burst:N as burst:16")
      ->type_name("DIST")
      ->capture_default_str();
  command
      .add_option("--connections", flags.connections,
                  "Sockets, each its own flow")
      ->type_name("COUNT")
      ->check(Within(1u, kMaxConnections))
      ->capture_default_str();
  command
      .add_option("--threads", flags.threads,
                  "Sending threads; each keeps a core busy")
      ->type_name("COUNT")
      ->check(Within(1u, kMaxThreads))
      ->capture_default_str();
  command
      .add_option("--cpus", flags.cpus, "Pin the threads to these: 2,3 or 2-3")
      ->type_name("LIST")
      ->default_str("not pinned");
  command
      .add_option("--gap-threshold", flags.gap_threshold,
                  "Time off the core that tags the samples around it, in us; "
                  "auto: 20, or what this machine exceeds all the time")
      ->type_name("MICROSECONDS")
      ->capture_default_str();
}

void AddOutputFlags(CLI::App& command, Flags& flags) {
  command
      .add_option("--json", flags.json,
                  "Write the result to this file; - is standard output")
      ->type_name("FILE");
  command
      .add_option("--html", flags.html,
                  "Write a self-contained report to this file")
      ->type_name("FILE");
  command
      .add_option("--record", flags.record,
                  "Write every request to this CSV file")
      ->type_name("FILE");
  command.add_option("--label", flags.label, "Names the curve in reports")
      ->type_name("TEXT")
      ->default_str("the target");
  command.add_flag("--progress", flags.progress,
                   "Show progress even without a terminal");
}

}  // namespace

std::string LoadFooter() {
  return std::string(kLatencyCounts) + kSpinExample + kKvExample +
         kRocksdbExample;
}

void AddFlags(CLI::App& command, Flags& flags, Application application) {
  AddTaskFlags(command, flags, application);
  AddMethodFlags(command, flags);
  AddOutputFlags(command, flags);
  const auto text = [application](const char* spin, const char* kv,
                                  const char* rocksdb) {
    return application == Application::kSpin ? spin
           : application == Application::kKv ? kv
                                             : rocksdb;
  };
  command.footer(std::string(kLatencyCounts) +
                 text(kSpinExample, kKvExample, kRocksdbExample) +
                 text(kSpinSearch, kKvSearch, kRocksdbSearch));
}

}  // namespace yamanote::load
