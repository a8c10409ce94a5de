// build.cc - applies settings over a preset and checks the result.

#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <iterator>
#include <vector>

#include "sim/engine.h"
#include "sim/oracle.h"
#include "tools/config/options.h"

namespace yamanote::tools {
namespace {

constexpr std::string_view kPreset = "scheduling.preset";
constexpr std::string_view kSliceMax = "scheduling.slice_max";

size_t AllowedCpus() {
  // Larger than any machine, so that the call does not fail for its size.
  static_assert(CPU_SETSIZE >= 1024);
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return 1;
  return static_cast<size_t>(CPU_COUNT(&set));
}

void AddProblem(std::string& problems, std::string_view problem) {
  if (!problems.empty()) problems += '\n';
  problems += problem;
}

// "--slice: scheduling.slice: ..." or, for the file, "a.toml:3: ...".
std::string Describe(const Setting& setting, std::string_view why) {
  return fmt::format("{}: {} = {}", setting.origin, setting.option->Name(),
                     why);
}

// Names what was set explicitly, for an error about a combination.
std::string ExplicitKeys(const Config& config) {
  std::string keys;
  for (const auto& [name, origin] : config.origins) {
    if (!name.starts_with("scheduling.") && !name.starts_with("runtime."))
      continue;
    keys += fmt::format("{}{} ({})", keys.empty() ? "" : ", ", name, origin);
  }
  return keys.empty() ? "nothing but defaults" : keys;
}

// Whether somebody says how tasks are ordered or placed.
bool NamesParts(std::span<const Setting> settings) {
  return std::ranges::any_of(settings, [](const Setting& setting) {
    return setting.option->section == "scheduling" &&
           (setting.option->key == "order" ||
            setting.option->key == "placement");
  });
}

// What parts are put together from in a simulation that names no preset: what queueing
// theory is about.
Scheduling OneQueue() {
  Scheduling scheduling;
  scheduling.dispatcher = DispatcherKind::kShared;
  return scheduling;
}

}  // namespace

unsigned CoreCount(const Config& config, size_t allowed) {
  if (!config.runtime.cpus.empty())
    return static_cast<unsigned>(config.runtime.cpus.size());
  if (config.runtime.cores != 0) return config.runtime.cores;
  return static_cast<unsigned>(allowed);
}

Result<Config> Build(std::span<const Setting> settings, Use use) {
  Config config;
  std::string problems;
  // The preset first, whoever names it last: the other keys override its parts.
  const Setting* preset = nullptr;
  for (const Setting& setting : settings) {
    if (setting.option->Name() == kPreset) preset = &setting;
  }
  Result<Scheduling> scheduling =
      preset != nullptr ? FindPreset(preset->text)
      : use == Use::kSimulate && NamesParts(settings)
          ? OneQueue()
          : FindPreset(config.runtime.scheduling.preset);
  if (scheduling) {
    config.runtime.scheduling = std::move(*scheduling);
  } else if (preset == nullptr) {
    return tl::unexpected(scheduling.error());
  }
  // A slice says whether it adapts, so slice_max is not overridden by one.
  std::vector<Setting> ordered;
  for (const bool slice_max : {false, true}) {
    std::ranges::copy_if(
        settings, std::back_inserter(ordered), [&](const Setting& one) {
          return (one.option->Name() == kSliceMax) == slice_max;
        });
  }
  for (const Setting& setting : ordered) {
    const Result<void> set =
        setting.option->set(*setting.option, config, setting.text);
    if (!set) {
      AddProblem(problems, Describe(setting, set.error().message));
      continue;
    }
    config.origins[setting.option->Name()] = setting.origin;
    for (ClassSetting& request_class : config.classes) {
      if (setting.option->kind == ValueKind::kClass &&
          setting.text.starts_with(request_class.name + ":")) {
        request_class.origin = setting.origin;
      }
    }
  }
  if (!problems.empty())
    return MakeError(ErrorCode::kInvalidArgument, problems);
  if (use == Use::kArbitrate) return config;

  if (!config.runtime.cpus.empty() && config.runtime.cores != 0 &&
      config.runtime.cores != config.runtime.cpus.size()) {
    return MakeError(
        ErrorCode::kInvalidArgument,
        fmt::format("{}: runtime.workers = {}, but runtime.cores ({}) names "
                    "{} CPUs, one worker each; leave one of the two out",
                    config.origins["runtime.workers"], config.runtime.cores,
                    config.origins["runtime.cores"],
                    config.runtime.cpus.size()));
  }
  Scheduling scheduled = config.runtime.scheduling;
  if (sim::FindOracle(scheduled.order)) {
    if (use == Use::kServe) {
      return MakeError(
          ErrorCode::kInvalidArgument,
          fmt::format(
              "{}: scheduling.order = \"{}\", which knows what requests "
              "take before they run: only `yamanote sim` has it; serve "
              "with one of `yamanote policies`",
              config.origins["scheduling.order"], scheduled.order));
    }
    scheduled.order = Scheduling{}.order;  // Has no part in it.
  }
  // The service's classes are not known yet; what is said of them is.
  if (!config.classes.empty()) scheduled.classes.clear();
  for (const ClassSetting& setting : config.classes)
    scheduled.classes.push_back(WithSettings({.name = setting.name}, setting));
  const Result<void> possible =
      use == Use::kSimulate
          ? Validate(scheduled, config.sim.cores, sim::kMaxCores)
          : Validate(scheduled, CoreCount(config, AllowedCpus()));
  if (!possible) {
    return MakeError(possible.error().code,
                     fmt::format("{} (set here: {})", possible.error().message,
                                 ExplicitKeys(config)));
  }
  return config;
}

}  // namespace yamanote::tools
