// command.cc - starts a service, says when it is ready, and ends it cleanly.
//
//   configuration -> limits -> signals blocked -> runtime -> server -> "ready"
//   -> wait for signals -> Stop() (a second signal: at once) -> statistics
//
// Standard output: the line that begins with `ready`, then statistics. With
// --json the statistics are JSON, one document a line. Those that a reader who
// stalls does not take are left out; the last ones wait for him a second.

#include "tools/serve/command.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <semaphore>
#include <thread>
#include <utility>

#include "base/topology.h"
#include "preempt/mechanism.h"
#include "tools/command.h"
#include "tools/config/flags.h"
#include "tools/config/values.h"
#include "tools/output/output.h"
#include "tools/serve/services.h"
#include "tools/serve/signals.h"
#include "tools/serve/statistics.h"
#include "yamanote/runtime.h"
#include "yamanote/server.h"

namespace yamanote::tools {
namespace {

struct ServeFlags {
  std::shared_ptr<ConfigFlags> config = std::make_shared<ConfigFlags>();
  bool print_config = false;
  bool as_json = false;
};

// To standard error. Left out where that would make the caller wait, for the thread
// that waits for signals would be deaf to them, or where nobody takes it: its terminal
// may be closed.
void Tell(const std::string& text) {
  if (!TakesOutput(STDERR_FILENO, Duration(0))) return;
  const std::string line = fmt::format("yamanote: {}\n", text);
  [[maybe_unused]] const ssize_t written =
      write(STDERR_FILENO, line.data(), line.size());
}

// Makes room for the connections, as far as the hard limit lets us. A service
// that can't open a file may not survive it, so clients never get its share.
void RaiseFileLimit(Config& config, const Served& served) {
  ServerOptions& options = config.server.options;
  const rlim_t cores =
      std::max<rlim_t>(base::AllowedCpus().size(), config.runtime.cores);
  // A listener and the one that it can spare; a socket for each core.
  const rlim_t for_address =
      (options.tcp ? 2 : 0) + (options.udp ? cores : rlim_t{0});
  // Pollers, the log; addresses; connections that are being refused; files.
  const rlim_t own_files = 64 + 4 * cores +
                           options.listen.size() * for_address + kMostRefusing +
                           served.files;
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  const rlim_t wanted = options.max_connections + own_files;
  if (limit.rlim_cur >= wanted) return;
  limit.rlim_cur = std::min(wanted, limit.rlim_max);
  setrlimit(RLIMIT_NOFILE, &limit);
  getrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_cur >= wanted) return;
  const rlim_t possible =
      limit.rlim_cur > own_files ? limit.rlim_cur - own_files : 0;
  const auto explicitly = config.origins.find("server.max_connections");
  if (explicitly != config.origins.end() || possible < 16) {
    Fail(fmt::format("server.max_connections = {}, but at most {} files may be "
                     "open and the server itself needs {}, so {} connections "
                     "are possible; raise `ulimit -n` to {}{}",
                     options.max_connections, limit.rlim_cur, own_files,
                     possible, wanted,
                     possible > 0 ? " or lower max_connections" : ""),
         kUsage);
  }
  Tell(
      fmt::format("note: {} connections at most, because {} files may be open; "
                  "`ulimit -n` raises it",
                  possible, limit.rlim_cur));
  options.max_connections = static_cast<uint32_t>(possible);
}

// Refuses CPUs in the words of the option that named them.
void CheckCpus(const Config& config) {
  const std::vector<int> allowed = base::AllowedCpus();
  for (const int cpu : config.runtime.cpus) {
    if (std::find(allowed.begin(), allowed.end(), cpu) != allowed.end())
      continue;
    Fail(fmt::format("{}: runtime.cores = \"{}\" names CPU {}, "
                     "which this process may not use; it may use {}",
                     config.origins.at("runtime.cores"),
                     FormatCpuList(config.runtime.cpus), cpu,
                     FormatCpuList(allowed)),
         kUsage);
  }
}

// A preset's slots are for machines of any size; those that were asked for are not.
void TellOfUnusedSlots(const Config& config, unsigned cores) {
  const Scheduling& scheduling = config.runtime.scheduling;
  const auto asked_for = config.origins.find("scheduling.slots");
  if (asked_for == config.origins.end() ||
      HasDedicatedDispatcher(scheduling, cores))
    return;
  // Other placements than central refuse them.
  Tell(fmt::format(
      "note: {}: scheduling.slots = {} has no effect, because no core of {} is "
      "a dispatcher's; {}",
      asked_for->second, scheduling.slots, cores,
      cores > 1 ? "scheduling.dispatcher = \"dedicated\" makes core 0 one"
                : "name two cores or more"));
}

// Fills in the parts of ServerOptions that come from other keys.
void CompleteServerOptions(Config& config) {
  ServerOptions& options = config.server.options;
  options.tcp = config.server.protocol != ServeProtocol::kUdp;
  options.udp = config.server.protocol != ServeProtocol::kTcp;
  for (std::string_view rest = config.server.listen;;) {
    const size_t comma = rest.find(',');
    // Parsed before, when the option was set.
    options.listen.push_back(
        SocketAddress::Parse(rest.substr(0, comma)).value());
    if (comma == std::string_view::npos) break;
    rest.remove_prefix(comma + 1);
  }
}

std::string Addresses(const Server& server) {
  std::string text;
  for (const SocketAddress& address : server.tcp_addresses()) {
    text += fmt::format(" tcp {}", address.ToString());
  }
  for (const SocketAddress& address : server.udp_addresses()) {
    text += fmt::format(" udp {}", address.ToString());
  }
  return text;
}

Statistics Read(const Server& server, const Runtime& runtime, Instant started) {
  return {Clock::now() - started, server.stats(), runtime.stats()};
}

// A server goes on if nobody takes what it prints: that is said, once. Returns
// false if standard output took nothing within `patience`; `text` is left out.
bool Print(const std::string& text, Duration patience) {
  static bool told = false;
  std::string trouble;
  const bool takes = TakesOutput(STDOUT_FILENO, patience);
  if (takes) {
    std::fputs(text.c_str(), stdout);
    const Result<void> printed = FlushStandardOutput();
    if (!printed) trouble = printed.error().message;
  } else {
    trouble = "nobody reads standard output; what it does not take is left out";
  }
  if (!trouble.empty() && !std::exchange(told, true)) Tell("note: " + trouble);
  return takes;
}

// Serves until a signal ends it. Returns the final statistics.
class Serving {
 public:
  Serving(const ServeFlags& flags, const Config& config, const Served& served,
          Server& server, const Runtime& runtime, Signals& signals)
      : as_json_(flags.as_json),
        interval_(config.server.stats_interval == Duration(0)
                      ? Signals::kNoLimit
                      : config.server.stats_interval),
        drain_timeout_(config.server.options.drain_timeout),
        served_(served),
        server_(server),
        runtime_(runtime),
        signals_(signals),
        stopper_([this] {
          stop_.acquire();
          server_.Stop();
          signals_.Wake();
        }) {}

  // If an exception comes by.
  ~Serving() {
    if (!stopper_.joinable()) return;
    stop_.release();
    stopper_.join();
  }
  Serving(const Serving&) = delete;
  Serving& operator=(const Serving&) = delete;

  void UntilSignalled() {
    for (;;) {
      const Signals::Event event = signals_.Wait(interval_);
      if (event == Signals::Event::kEnd) return;
      if (event != Signals::Event::kWoken) Report("statistics", Duration(0));
    }
  }

  // Answers what is in flight; a second signal ends the process at once.
  void Stop() {
    Tell(
        fmt::format("ending; requests in flight have {} to finish, a second "
                    "signal ends at once",
                    FormatDuration(drain_timeout_)));
    const Instant began = Clock::now();
    stop_.release();
    Signals::Event event = Signals::Event::kTimeout;
    while (event != Signals::Event::kWoken) {
      event = signals_.Wait(Signals::kNoLimit);
      if (event != Signals::Event::kEnd) continue;
      // One wish to end: timeout(1) and shells signal process and group.
      if (Clock::now() - began < kSameSignal) continue;
      Tell("second signal: requests in flight are dropped");
      Report("final", kLastPatience);
      if (served_.discard) served_.discard();
      _exit(kFailed);
    }
    stopper_.join();
    Report("final", kLastPatience);
  }

 private:
  static constexpr Duration kSameSignal = std::chrono::milliseconds(100);

  static constexpr Duration kLastPatience = std::chrono::seconds(1);

  // Not printed if standard output takes nothing within `patience`.
  void Report(std::string_view event, Duration patience) {
    const Statistics now = Read(server_, runtime_, started_);
    if (Print(as_json_ ? StatisticsJson(now, last_, event)
                       : StatisticsText(now, last_),
              patience)) {
      last_ = now;
    }
  }

  const bool as_json_;
  const Duration interval_;
  const Duration drain_timeout_;
  const Served& served_;
  Server& server_;
  const Runtime& runtime_;
  Signals& signals_;
  const Instant started_ = Clock::now();
  Statistics last_;
  std::binary_semaphore stop_{0};
  // From the start: when it is needed the system may have no thread to give.
  std::thread stopper_;
};

// The scheduler in the words of the ready line.
std::string Describe(const Config& config, const Runtime& runtime) {
  const Scheduling& s = config.runtime.scheduling;
  return fmt::format("preset {} order {} placement {} cores {} preemption {}",
                     s.preset, s.order, ToString(s.placement), runtime.cores(),
                     ToString(runtime.mechanism()));
}

void Serve(const ServiceInfo& info, const ServeFlags& flags) {
  Result<Config> config = LoadConfig(*flags.config);
  if (!config) Fail(config.error().message, kUsage);
  Result<Served> served = info.make(*config);
  if (!served) Fail(served.error().message, kUsage);
  const Result<void> classes =
      ResolveClasses(info.name, *served->protocol, *config);
  if (!classes) Fail(classes.error().message, kUsage);
  if (flags.print_config) {
    fmt::print("{}", PrintConfig(*config));
    return;
  }
  CompleteServerOptions(*config);
  RaiseFileLimit(*config, *served);
  CheckCpus(*config);

  // Chosen here: the note about missing probes is ours, below. What cannot be is
  // told by Create().
  if (const auto chosen = preempt::Choose(config->runtime.preemption))
    config->runtime.preemption = *chosen;

  Signals signals;
  Result<std::unique_ptr<Runtime>> runtime = Runtime::Create(config->runtime);
  if (!runtime) {
    const Error& error = runtime.error();
    Fail(error.message,
         error.code == ErrorCode::kResourceExhausted ? kFailed : kUsage);
  }
  Result<std::unique_ptr<Server>> server = Server::Start(
      config->server.options, *served->protocol, *served->service);
  if (!server) {
    // An option's value, unless it was the system that refused it: then a
    // retry may succeed, as with an address in use.
    const Error& error = server.error();
    const bool wrong_value =
        error.code == ErrorCode::kInvalidArgument && error.system_errno == 0;
    Fail(error.message, wrong_value ? kUsage : kFailed);
  }
  served->attach(**server);
  const std::string note = served->note ? served->note() : "";
  if (!note.empty()) Tell("note: " + note);
  TellOfUnusedSlots(*config, (*runtime)->cores());
  if ((*runtime)->mechanism() != Mechanism::kNone && !served->has_probes) {
    Tell(
        fmt::format("note: {} was compiled without probes, so slices end "
                    "where it blocks, yields or calls CheckPreempt() only",
                    info.name));
  }
  Serving serving(flags, *config, *served, **server, **runtime, signals);
  // Scripts wait for this line, so it waits for whoever reads it.
  while (!TakesOutput(STDOUT_FILENO, std::chrono::milliseconds(100)) &&
         !Signals::IsEndPending()) {
  }
  Print(fmt::format("ready {}{} {}\n", info.name, Addresses(**server),
                    Describe(*config, **runtime)),
        Duration(0));
  serving.UntilSignalled();
  serving.Stop();
}

}  // namespace

void AddServeCommand(CLI::App& app) {
  CLI::App* const serve = app.add_subcommand(
      "serve", "Run a service under the scheduler of your choice");
  serve->require_subcommand(1);
  serve->footer(
      "Prints a line beginning with `ready` once it accepts. SIGINT, SIGTERM "
      "and SIGHUP end it\n"
      "after the requests in flight are answered, a second one at once.\n"
      "SIGUSR1 prints statistics.\n"
      "Values come from defaults, the preset, the file, the flags; the later "
      "one wins.\n"
      "`yamanote serve kv --help` shows every option.\n"
      "\n"
      "Examples:\n"
      "  yamanote serve kv --preset yamanote --listen 127.0.0.1:11211\n"
      "  yamanote serve spin --preset zygos --protocol udp --cores 0,1\n"
      "  yamanote serve kv --print-config > serve.toml");
  for (const ServiceInfo& info : Services()) {
    CLI::App* const command =
        serve->add_subcommand(std::string(info.name), std::string(info.help));
    const auto flags = std::make_shared<ServeFlags>();
    AddConfigFlags(*command, info.name, flags->config);
    command->add_flag(
        "--print-config", flags->print_config,
        "Print the effective configuration as TOML with comments, and exit");
    command->add_flag("--json", flags->as_json,
                      "Print statistics as JSON, one document a line");
    command->footer(std::string(info.example));
    command->callback([&info, flags] { Serve(info, *flags); });
  }
}

}  // namespace yamanote::tools
