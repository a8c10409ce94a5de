// command.cc - `yamanote native run | list | stats | attach | upgrade | destroy`.

#include "tools/native/command.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "native/hint_table.h"
#include "tools/command.h"
#include "tools/config/values.h"
#include "tools/native/control.h"
#include "tools/native/enclave.h"
#include "tools/output/json.h"

namespace yamanote::tools {
namespace {

using Json = nlohmann::ordered_json;

struct NativeFlags {
  std::string name;
  std::string policy = "fifo";
  unsigned max_threads = kUsualThreads;
  std::string slice;
  std::string placement;
  std::string cpus;
  std::string watchdog = "5s";
  std::string backend = "auto";
  bool own_core = false;
  bool as_json = false;
  std::vector<std::string> classes;
  std::string of_class;
  unsigned weight = 0;
  std::string due;
  pid_t tid = 0;
  std::vector<pid_t> pids;
  std::vector<std::string> program;
};

std::string Folder() {
  const Result<std::string> folder = ControlFolder();
  if (!folder) Fail(folder.error().message);
  return *folder;
}

template <typename T>
T OrFail(Result<T> result) {
  if (!result) {
    Fail(result.error().message,
         result.error().code == ErrorCode::kInvalidArgument ? kUsage : kFailed);
  }
  return *std::move(result);
}

native::BackendKind BackendOf(const std::string& name) {
  using native::BackendKind;
  for (const BackendKind kind :
       {BackendKind::kAuto, BackendKind::kScx, BackendKind::kTracing})
    if (name == ToString(kind)) return kind;
  Fail(fmt::format("--backend is '{}'; it must be auto, scx or tracing", name),
       kUsage);
}

EnclaveSettings SettingsOf(const NativeFlags& flags) {
  EnclaveSettings settings;
  const Result<std::vector<int>> cpus = ParseCpuList(flags.cpus);
  if (!cpus) Fail("--cpus: " + cpus.error().message, kUsage);
  for (const int cpu : *cpus)
    settings.cpus.push_back(static_cast<unsigned>(cpu));
  const auto cores = static_cast<unsigned>(settings.cpus.size());
  settings.scheduling =
      OrFail(NativeScheduling(flags.policy, flags.slice, flags.placement,
                              OrFail(NativeClasses(flags.classes)), cores));
  settings.program_class = flags.of_class;
  OrFail(NativeHint(settings.scheduling.classes, flags.of_class, 0, ""));
  settings.backend = BackendOf(flags.backend);
  settings.own_core = flags.own_core;
  settings.max_threads = flags.max_threads;
  if (flags.watchdog == "none") {
    settings.watchdog = kNoPreemption;
  } else {
    const Result<Duration> time = ParseDuration(flags.watchdog);
    if (!time) Fail("--watchdog: " + time.error().message, kUsage);
    if (*time < std::chrono::milliseconds(10)) {
      Fail(fmt::format("--watchdog is {}; it must be 10ms at least, or none",
                       flags.watchdog),
           kUsage);
    }
    settings.watchdog = *time;
  }
  settings.name = flags.name;
  if (settings.name.empty()) {
    settings.name =
        flags.program.empty()
            ? fmt::format("pid-{}", flags.pids.front())
            : std::filesystem::path(flags.program[0]).filename().string();
    settings.name += fmt::format("-{}", getpid());
  }
  if (Result<void> fits = CheckEnclaveName(settings.name); !fits)
    Fail(fits.error().message, kUsage);
  return settings;
}

void Run(const NativeFlags& flags) {
  if (flags.program.empty() && flags.pids.empty()) {
    Fail(
        "no program is named; write it behind `--`, for example `yamanote "
        "native run --cpus 1 -- make -j4`, or name a running one with --pid",
        kUsage);
  }
  Folder();
  const EnclaveSettings settings = SettingsOf(flags);
  const int status = OrFail(RunEnclave(settings, flags.program, flags.pids));
  if (status != 0) throw CLI::RuntimeError(status);
}

std::string SliceText(const Json& stats) {
  return stats["slice_ns"].is_null()
             ? "none"
             : FormatDuration(Duration(stats["slice_ns"].get<int64_t>()));
}

void List(const NativeFlags& flags) {
  const std::string folder = Folder();
  Json all = Json::array();
  for (const std::string& name : EnclaveNames(folder)) {
    const Result<Json> stats = AskEnclave(folder, name, {{"ask", "stats"}});
    if (stats) all.push_back(*stats);
  }
  if (flags.as_json) {
    fmt::print("{}\n", JsonText(Json{{"schema", "yamanote.native.list/1"},
                                     {"enclaves", all}},
                                2));
    return;
  }
  if (all.empty()) {
    fmt::print("there is no enclave; `yamanote native run` makes one\n");
    return;
  }
  constexpr char kRow[] = "{:<24} {:>8} {:<9} {:<10} {:<10} {:>8} {:>8} {}\n";
  fmt::print(fmt::runtime(kRow), "NAME", "PID", "BACK-END", "POLICY",
             "PLACEMENT", "SLICE", "THREADS", "CPUS");
  for (const Json& one : all) {
    fmt::print(fmt::runtime(kRow), one["name"].get<std::string>(),
               one["pid"].get<int>(), one["backend"].get<std::string>(),
               one["policy"].get<std::string>(),
               one["placement"].get<std::string>(), SliceText(one),
               one["alive"].get<bool>()
                   ? std::to_string(one["threads"].get<unsigned>())
                   : "ended",
               FormatCpuList(one["cpus"].get<std::vector<int>>()));
  }
}

void Stats(const NativeFlags& flags) {
  const Json stats =
      OrFail(AskEnclave(Folder(), flags.name, {{"ask", "stats"}}));
  if (flags.as_json) {
    fmt::print("{}\n", JsonText(stats, 2));
    return;
  }
  fmt::print("{}: {} on CPUs {}, {} placement, slice {}, by {}, process {}\n",
             stats["name"].get<std::string>(),
             stats["policy"].get<std::string>(),
             FormatCpuList(stats["cpus"].get<std::vector<int>>()),
             stats["placement"].get<std::string>(), SliceText(stats),
             stats["backend"].get<std::string>(), stats["pid"].get<int>());
  if (!stats["alive"].get<bool>()) {
    fmt::print("it has ended; its threads run under Linux's own scheduler\n");
    return;
  }
  fmt::print(
      "{} threads; {} passes, {} messages, {} of them lost; {} upgrades\n",
      stats["threads"].get<unsigned>(), stats["passes"].get<uint64_t>(),
      stats["messages"].get<uint64_t>(), stats["lost_messages"].get<uint64_t>(),
      stats["upgrades"].get<unsigned>());
  for (const auto& [result, count] : stats["commits"].items()) {
    if (count.get<uint64_t>() != 0)
      fmt::print("  {:<18} {}\n", result, count.get<uint64_t>());
  }
}

void AddPolicyFlags(CLI::App& command, NativeFlags& flags) {
  command
      .add_option("--policy", flags.policy,
                  "Who runs next: an order or a preset of `yamanote policies`")
      ->type_name("NAME")
      ->capture_default_str();
  command
      .add_option("--slice", flags.slice,
                  "How long a thread runs before others may; none: until it "
                  "blocks")
      ->type_name("DURATION")
      ->default_str("the policy's choice: none, or 1ms");
  command
      .add_option("--placement", flags.placement,
                  "central: one queue and one agent; stealing: one of each for "
                  "every CPU")
      ->type_name("NAME")
      ->default_str("the policy's");
}

// What `attach` and `hint` say of threads. In questions, "" and 0 are nothing.
void AddHintFlags(CLI::App& command, NativeFlags& flags) {
  command
      .add_option("--class", flags.of_class,
                  "Their class, one of those that `run --class` named")
      ->type_name("NAME");
  command
      .add_option("--weight", flags.weight,
                  "Their share relative to others, for fair policies")
      ->type_name("COUNT")
      ->check(Within(1U, unsigned{native::kMostHintWeight}));
  command
      .add_option("--due", flags.due,
                  "How long after a wake-up one is to be done, for edf")
      ->type_name("DURATION");
}

Json WithHint(Json question, const NativeFlags& flags) {
  question["class"] = flags.of_class;
  question["weight"] = flags.weight;
  question["due"] = flags.due;
  return question;
}

CLI::App* AddNamed(CLI::App& command, NativeFlags& flags, const char* verb,
                   const char* help) {
  CLI::App* const one = command.add_subcommand(verb, help);
  one->add_option("name", flags.name, "The enclave's, as `list` shows it")
      ->type_name("NAME")
      ->required();
  return one;
}

void AddRun(CLI::App& command, const std::shared_ptr<NativeFlags>& flags) {
  CLI::App* const run = command.add_subcommand(
      "run", "Run a program with its threads under a policy");
  AddPolicyFlags(*run, *flags);
  run->add_option("--cpus", flags->cpus,
                  "The enclave's CPUs: its threads run there and nowhere else")
      ->type_name("LIST")
      ->required();
  run->add_option("--backend", flags->backend,
                  "scx: sched_ext, Linux 6.13 with that and a build with it; "
                  "tracing: any kernel, coarser; auto: scx where it can be had")
      ->type_name("NAME")
      ->capture_default_str();
  run->add_option("--name", flags->name, "For `yamanote native list`")
      ->type_name("NAME")
      ->default_str("the program's and this process's number");
  run->add_option("--pid", flags->pids,
                  "A running process to take in, with its children from then "
                  "on; again: more of them")
      ->type_name("PID");
  run->add_flag("--own-core", flags->own_core,
                "The agent of a central queue polls, on a CPU of its own");
  run->add_option("--class", flags->classes,
                  "A class of threads, for policies that know classes: NAME, "
                  "NAME:slo=1ms, NAME:budget=2ms,period=10ms, or "
                  "NAME:background, whose threads run only "
                  "while none of others wait; again: more. Threads are of the "
                  "first until a hint says something else")
      ->type_name("CLASS")
      ->allow_extra_args(false);
  run->add_option("--of-class", flags->of_class,
                  "The class of this program's threads, and of --pid's")
      ->type_name("NAME")
      ->default_str("the first");
  run->add_option("--max-threads", flags->max_threads,
                  "How many threads the enclave has room for at a time")
      ->type_name("COUNT")
      ->check(Within(1U, kMostThreads))
      ->capture_default_str();
  run->add_option("--watchdog", flags->watchdog,
                  "Give all threads back to Linux's scheduler if one that can "
                  "run has been on no CPU for so long; none: never")
      ->type_name("DURATION")
      ->capture_default_str();
  run->add_option("program", flags->program,
                  "The program and its arguments, behind `--`")
      ->type_name("-- PROGRAM...");
  run->footer(
      "Needs root, or CAP_BPF, CAP_PERFMON and CAP_SYS_NICE, and Linux 5.8; "
      "back-end scx needs root. By tracing, the threads that the policy "
      "chooses get a real-time priority on their CPU; when the enclave ends, "
      "however it does, all threads have their "
      "class, priority and affinity back. The exit status is the program's, "
      "128 and the signal's number if a signal ended it. "
      "docs/native.md says what the policy can hold and what it cannot.\n\n"
      "Examples:\n"
      "  yamanote native run --policy shinjuku --slice 1ms --cpus 1-3 -- "
      "./server\n"
      "  yamanote native run --policy rr --cpus 1 --class a --class "
      "b:background -- ./a\n"
      "  yamanote native run --policy fifo --cpus 1 -- make -j4");
  run->callback([flags] { Run(*flags); });
}

void AddHint(CLI::App& command, const std::shared_ptr<NativeFlags>& flags) {
  CLI::App* const hint =
      AddNamed(command, *flags, "hint",
               "Say of threads what they do not say themselves");
  hint->add_option("--pid", flags->pids,
                   "All threads of this process, and what they start from "
                   "then on")
      ->type_name("PID")
      ->expected(1);
  hint->add_option("--tid", flags->tid, "One thread")->type_name("TID");
  AddHintFlags(*hint, *flags);
  hint->footer(
      "Without --class, --weight and --due: they are as those of which nothing "
      "was said. A program says it itself by yamanote/hints.h.\n\n"
      "Examples:\n  yamanote native hint server-4711 --pid 4712 --class batch\n"
      "  yamanote native hint server-4711 --tid 4713 --due 2ms");
  hint->callback([flags] {
    if (flags->pids.empty() == (flags->tid == 0)) {
      Fail("which threads is not said; give one of --pid PID and --tid TID",
           kUsage);
    }
    const Json answer = OrFail(AskEnclave(
        Folder(), flags->name,
        WithHint({{"ask", "hint"},
                  {"pid", flags->pids.empty() ? 0 : flags->pids.front()},
                  {"tid", flags->tid}},
                 *flags)));
    fmt::print("{} threads have it from their next wake-up or slice on\n",
               answer["threads"].get<unsigned>());
  });
}

}  // namespace

void AddNativeCommand(CLI::App& app) {
  CLI::App* const command = app.add_subcommand(
      "native", "Schedule kernel threads of unmodified programs");
  command->require_subcommand(1);
  command->footer(
      "Examples:\n"
      "  yamanote native run --policy rr --slice 2ms --cpus 1-3 -- ./server\n"
      "  yamanote native list\n"
      "  yamanote native upgrade server-4711 --policy cfs --slice 500us");
  const auto flags = std::make_shared<NativeFlags>();
  AddRun(*command, flags);

  CLI::App* const list = command->add_subcommand("list", "Show the enclaves");
  list->add_flag("--json", flags->as_json, "Schema yamanote.native.list/1");
  list->footer(
      "Examples:\n  yamanote native list\n  yamanote native list --json");
  list->callback([flags] { List(*flags); });

  CLI::App* const stats =
      AddNamed(*command, *flags, "stats", "Show what an enclave has done");
  stats->add_flag("--json", flags->as_json, "Schema yamanote.native/1");
  stats->footer(
      "Examples:\n  yamanote native stats server-4711\n"
      "  yamanote native stats server-4711 --json");
  stats->callback([flags] { Stats(*flags); });

  CLI::App* const attach = AddNamed(*command, *flags, "attach",
                                    "Take a running process into an enclave");
  attach->add_option("pid", flags->pids, "The process")
      ->type_name("PID")
      ->required()
      ->expected(1);
  AddHintFlags(*attach, *flags);
  attach->footer(
      "Examples:\n  yamanote native attach server-4711 4712\n"
      "  yamanote native attach server-4711 4712 --class batch");
  attach->callback([flags] {
    const Json answer = OrFail(AskEnclave(
        Folder(), flags->name,
        WithHint({{"ask", "attach"}, {"pid", flags->pids.front()}}, *flags)));
    for (const Json& line : answer["refused"])
      fmt::print(stderr, "yamanote: {}\n", line.get<std::string>());
    fmt::print("{} threads have joined\n", answer["threads"].get<unsigned>());
  });

  AddHint(*command, flags);

  CLI::App* const upgrade =
      AddNamed(*command, *flags, "upgrade",
               "Let agents of another policy take over, while the threads run");
  AddPolicyFlags(*upgrade, *flags);
  upgrade->get_option("--policy")->default_str("the one that it has");
  upgrade->footer(
      "Examples:\n  yamanote native upgrade server-4711 --policy cfs --slice "
      "500us");
  upgrade->callback([flags, upgrade] {
    OrFail(
        AskEnclave(Folder(), flags->name,
                   {{"ask", "upgrade"},
                    {"policy", upgrade->count("--policy") != 0 ? flags->policy
                                                               : std::string()},
                    {"slice", flags->slice},
                    {"placement", flags->placement}}));
    Stats(*flags);
  });

  CLI::App* const destroy =
      AddNamed(*command, *flags, "destroy",
               "Give an enclave's threads back to Linux's scheduler");
  destroy->footer("Examples:\n  yamanote native destroy server-4711");
  destroy->callback([flags] {
    OrFail(AskEnclave(Folder(), flags->name, {{"ask", "destroy"}}));
    fmt::print("its threads run under Linux's own scheduler\n");
  });
}

}  // namespace yamanote::tools
