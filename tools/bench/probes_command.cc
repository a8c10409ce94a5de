// probes_command.cc - flags of `yamanote bench probes`, its figures as text or JSON.

#include "tools/bench/probes_command.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "tools/bench/probes.h"
#include "tools/command.h"
#include "tools/output/json.h"
#include "tools/version/build_info.h"

namespace yamanote::tools {
namespace {

using Json = nlohmann::ordered_json;

struct ProbesFlags {
  std::vector<std::string> kernels;
  unsigned rounds = bench::ProbesOptions{}.rounds;
  double seconds = 0;
  bool as_json = false;
};

Json ToJson(const bench::Spread& spread) {
  return {{"median", spread.median}, {"p25", spread.p25}, {"p75", spread.p75}};
}

Json ToJson(const bench::Gaps& gaps) {
  Json json = {{"count", gaps.count}};
  // Without a probe there is no gap between two.
  json["p50"] = gaps.count > 0 ? Json(gaps.p50_ns) : Json();
  json["p99"] = gaps.count > 0 ? Json(gaps.p99_ns) : Json();
  json["p99.9"] = gaps.count > 0 ? Json(gaps.p999_ns) : Json();
  json["max"] = gaps.count > 0 ? Json(gaps.max_ns) : Json();
  return json;
}

Json ToJson(const bench::ProbesResult& result) {
  Json kernels = Json::array();
  for (const bench::KernelFigures& kernel : result.kernels) {
    Json times = Json::array();
    for (const bench::LayoutTimes& layout : kernel.times) {
      times.push_back({{"layout", layout.layout},
                       {"plain", layout.plain_ns},
                       {"probes", layout.probes_ns}});
    }
    kernels.push_back({{"name", kernel.name},
                       {"n", kernel.n},
                       {"plain_ns", kernel.plain_ns},
                       {"probes_ns", kernel.probes_ns},
                       {"overhead", ToJson(kernel.overhead)},
                       {"gap_ns", ToJson(kernel.gaps)},
                       {"times_ns", times}});
  }
  return {{"schema", "yamanote.bench.probes/1"},
          {"version", GetBuildInfo().version},
          {"compiler", GetBuildInfo().compiler},
          {"rounds", result.rounds},
          {"runs", result.runs},
          {"overhead", ToJson(result.overhead)},
          {"kernels", kernels}};
}

void PrintText(const bench::ProbesResult& result) {
  fmt::print(
      "{}, {} round(s), 8 layouts, the fastest of {} runs each; overhead: "
      "median, and the middle half of the rounds\n",
      GetBuildInfo().compiler, result.rounds, result.runs);
  fmt::print("{:<15} {:>11} {:>11} {:>8}  {:<17} {:>7} {:>7} {:>8} {:>9}\n",
             "kernel", "plain ns", "probes ns", "overhead", "", "gap p50",
             "p99 ns", "p99.9 ns", "max ns");
  const auto overhead = [](const bench::Spread& spread) {
    return fmt::format(
        "{:>+7.2f}%  {:<17}", 100 * spread.median,
        fmt::format("{:+.2f} .. {:+.2f}", 100 * spread.p25, 100 * spread.p75));
  };
  for (const bench::KernelFigures& kernel : result.kernels) {
    fmt::print("{:<15} {:>11.0f} {:>11.0f} {}", kernel.name, kernel.plain_ns,
               kernel.probes_ns, overhead(kernel.overhead));
    if (kernel.gaps.count > 0) {
      fmt::print(" {:>7.0f} {:>7.0f} {:>8.0f} {:>9.0f}\n", kernel.gaps.p50_ns,
                 kernel.gaps.p99_ns, kernel.gaps.p999_ns, kernel.gaps.max_ns);
    } else {
      fmt::print(" met no two probes\n");
    }
  }
  fmt::print("{:<15} {:>11} {:>11} {}\n", "geometric mean", "", "",
             overhead(result.overhead));
}

void RunProbesCommand(const ProbesFlags& flags) {
  bench::ProbesOptions options;
  options.kernels = flags.kernels;
  options.rounds = flags.rounds;
  if (flags.seconds > 0)
    options.budget = Duration(static_cast<int64_t>(flags.seconds * 1e9));
  for (const std::string& name : flags.kernels) {
    if (std::ranges::count(flags.kernels, name) > 1) {
      Fail(fmt::format("--kernel names '{}' more than once; leave out one of "
                       "them",
                       name),
           kUsage);
    }
  }
  const bool terminal = isatty(STDERR_FILENO) != 0;
  if (terminal) {
    options.progress = [&options](std::string_view kernel, unsigned round) {
      fmt::print(stderr, "\r  round {} of {}: {}\033[K", round + 1,
                 options.rounds, kernel);
      std::fflush(stderr);
    };
  }
  const Result<bench::ProbesResult> result = bench::RunProbes(options);
  if (terminal) std::fputs("\r\033[K", stderr);
  if (!result) Fail(result.error().message);
  if (flags.as_json) {
    fmt::print("{}\n", JsonText(ToJson(*result), 2));
  } else {
    PrintText(*result);
  }
}

}  // namespace

void AddProbesCommand(CLI::App& bench) {
  CLI::App* const command = bench.add_subcommand(
      "probes",
      "Measure what preemption probes cost, and how far apart they are");
  const auto flags = std::make_shared<ProbesFlags>();
  CLI::Option* const kernel =
      command
          ->add_option("--kernel", flags->kernels,
                       "Only this one; may be given more than once")
          ->type_name("NAME")
          ->expected(1)
          ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
          ->default_str("all");
  if (const std::vector<std::string> names = bench::KernelNames();
      !names.empty())
    kernel->check(OneOf(names));
  command->add_option("--rounds", flags->rounds, "How often each is measured")
      ->type_name("COUNT")
      ->check(Within(1U, 10'000U))
      ->capture_default_str();
  command
      ->add_option("--seconds", flags->seconds,
                   "Begin no further round after that long")
      ->type_name("SECONDS")
      ->check(Within(0.01, 3600.0))
      ->default_str("no limit");
  command->add_flag("--json", flags->as_json, "Print one JSON document");
  command->footer(
      "Kernels are small programs and two libraries, in `yamanote` twice: "
      "compiled without probes and with, by the compiler and the flags of this "
      "build. A round times both in turn, in eight layouts, because where code "
      "lies against cache lines changes a tight loop's time more than a probe "
      "does; it takes about a second for all kernels. A gap is the time from "
      "one probe to the next, so how late a preemption may be.\n"
      "\n"
      "Examples:\n"
      "  yamanote bench probes\n"
      "  yamanote bench probes --kernel sort --kernel regex --rounds 30 "
      "--json");
  command->callback([flags] { RunProbesCommand(*flags); });
}

}  // namespace yamanote::tools
