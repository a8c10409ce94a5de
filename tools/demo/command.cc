// command.cc - reads the flags of `yamanote demo`, runs it, writes what it
// found.

#include "tools/demo/command.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>

#include "tools/command.h"
#include "tools/demo/demo.h"
#include "tools/load/workload.h"
#include "tools/output/json.h"
#include "tools/output/output.h"
#include "tools/report/report.h"

namespace yamanote::tools {
namespace {

struct Arguments {
  std::vector<std::string> presets = {"ix", "zygos", "shinjuku", "yamanote"};
  std::vector<std::string> also;
  unsigned seconds = 150;
  unsigned cores = 0;
  unsigned connections = 32;
  std::string service = demo::DemoOptions{}.service;
  std::string out = "yamanote-demo.html";
  bool json = false;
};

demo::DemoOptions ReadOptions(const Arguments& arguments) {
  demo::DemoOptions options;
  std::error_code error;
  const std::string program =
      std::filesystem::read_symlink("/proc/self/exe", error).string();
  if (error)
    Fail(
        fmt::format("cannot find this program's own path in /proc/self/exe: {}",
                    error.message()));
  for (const std::string& preset : arguments.presets) {
    if (preset.empty()) continue;  // --presets '': only what --also names.
    Result<demo::Contender> contender = demo::PresetContender(preset, program);
    if (!contender) Fail("--presets: " + contender.error().message, kUsage);
    options.contenders.push_back(*std::move(contender));
  }
  for (const std::string& text : arguments.also) {
    Result<demo::Contender> contender = demo::ForeignContender(text);
    if (!contender) Fail(contender.error().message, kUsage);
    options.contenders.push_back(*std::move(contender));
  }
  if (options.contenders.empty())
    Fail("there is nothing to compare; name presets with --presets", kUsage);
  std::set<std::string> names;
  for (const demo::Contender& contender : options.contenders) {
    if (!names.insert(contender.name).second) {
      Fail(fmt::format(
               "'{}' is named twice; each server needs a name of its own",
               contender.name),
           kUsage);
    }
  }
  options.total = std::chrono::seconds(arguments.seconds);
  const Duration least = demo::LeastTotal(options.contenders.size());
  if (options.total < least) {
    Fail(fmt::format("--seconds is {}; {} servers need at least {}: allow more "
                     "time or name fewer",
                     arguments.seconds, options.contenders.size(),
                     ToNanos(least) / 1'000'000'000 + 1),
         kUsage);
  }
  Result<demo::CpuLayout> cpus =
      demo::PlanCpus(demo::UsableCpus(), arguments.cores);
  if (!cpus) Fail(cpus.error().message, kUsage);
  options.cpus = *std::move(cpus);
  const Result<load::Workload> workload =
      load::Workload::Parse(load::Application::kKv, arguments.service);
  if (!workload) Fail(workload.error().message, kUsage);
  options.service = arguments.service;
  options.connections = arguments.connections;
  return options;
}

void Announce(const demo::DemoOptions& options, demo::Screen& screen) {
  std::vector<std::string> names;
  for (const demo::Contender& contender : options.contenders)
    names.push_back(contender.name);
  screen.Line(fmt::format("Comparing {} under the same load ({})",
                          fmt::join(names, ", "), options.service));
  screen.Line(fmt::format("  {}; about {}", options.cpus.ToText(),
                          demo::FormatSeconds(options.total)));
}

void Run(const Arguments& arguments) {
  const demo::DemoOptions options = ReadOptions(arguments);
  // Before, not after, minutes of measuring.
  if (auto ok = CheckWritable("--out", arguments.out); !ok)
    Fail(ok.error().message, kUsage);
  const demo::Interrupts interrupts;
  Result<demo::DemoResult> result;
  {
    demo::Screen screen;
    Announce(options, screen);
    result = demo::RunDemo(options, screen, interrupts);
  }
  if (!result) {
    Fail(result.error().code == ErrorCode::kCancelled
             ? "interrupted; the servers are stopped, no report was written"
             : result.error().message);
  }
  const Result<void> written =
      report::Write(result->report, "--out", arguments.out);
  if (arguments.json) {
    fmt::print("{}\n", JsonText(report::ToJson(result->report), 2));
  } else {
    fmt::print("\n{}\n", demo::ResultTable(result->report));
    if (!result->slices.empty())
      fmt::print("{}\n", demo::SliceTable(result->slices));
  }
  if (!written) Fail(written.error().message);
  const std::string path = std::filesystem::absolute(arguments.out).string();
  fmt::print(arguments.json ? stderr : stdout, "report: {}\n", path);
  if (!result->failures.empty())
    Fail(fmt::format("{}", fmt::join(result->failures, "\n")));
}

}  // namespace

void AddDemoCommand(CLI::App& app) {
  CLI::App* const command = app.add_subcommand(
      "demo", "Compare schedulers under the same load, in less than 3 minutes");
  const auto arguments = std::make_shared<Arguments>();
  command
      ->add_option("--presets", arguments->presets,
                   "Schedulers to compare, as in `yamanote policies`")
      ->delimiter(',')
      ->default_str(fmt::format("{}", fmt::join(arguments->presets, ",")))
      ->type_name("LIST");
  command
      ->add_option(
          "--also", arguments->also,
          "Another server of memcached's protocol, as NAME=COMMAND; "
          "the shell runs COMMAND, with {port} and {cpus} filled in. "
          "May be repeated. It must sleep when idle: all servers share the "
          "cores")
      ->allow_extra_args(false)
      ->type_name("NAME=COMMAND");
  command
      ->add_option("--seconds", arguments->seconds,
                   "Duration of the whole demo; at least about 13 for each "
                   "scheduler")
      ->capture_default_str()
      ->check(Within(1u, 86400u))
      ->type_name("SECONDS");
  command
      ->add_option("--cores", arguments->cores,
                   "Cores of each server, the load generator has the others. "
                   "0: 2 of 4 and more, else 1")
      ->capture_default_str()
      ->check(Within(0u, 65535u))
      ->type_name("COUNT");
  command
      ->add_option("--service", arguments->service,
                   "The mix of requests, as in `yamanote load kv --service`")
      ->capture_default_str()
      ->type_name("DIST");
  command
      ->add_option("--connections", arguments->connections,
                   "TCP connections of the load generator")
      ->capture_default_str()
      ->check(Within(1u, 10000u))
      ->type_name("COUNT");
  command->add_option("-o,--out", arguments->out, "The HTML report to write")
      ->capture_default_str()
      ->type_name("FILE");
  command->add_flag(
      "--json", arguments->json,
      "Print the results as one JSON document, which `yamanote report` reads");
  command->footer(
      "Starts `yamanote serve kv` under each scheduler, drives them in turn at "
      "rising\n"
      "load with short gets and long multi-gets mixed, and compares their "
      "tails.\n"
      "Ctrl-C stops the servers too; then there is no report, and the status "
      "is "
      "1. So it\n"
      "is where a server failed, but the report has what was measured.\n\n"
      "Examples:\n"
      "  yamanote demo\n"
      "  yamanote demo --presets shinjuku,concord,tq --seconds 100 --out "
      "tails.html\n"
      "  yamanote demo --presets yamanote \\\n"
      "    --also 'memcached=memcached -u nobody -l 127.0.0.1 -t 2 -p {port}'");
  command->callback([arguments] { Run(*arguments); });
}

}  // namespace yamanote::tools
