// shared.h - what `yamanote sim` and its subcommands have alike.

#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "tools/command.h"
#include "tools/config/flags.h"
#include "tools/load/result.h"
#include "tools/sim/simulate.h"
#include "tools/sim/sweep.h"

namespace yamanote::tools {

struct SimFlags {
  std::shared_ptr<ConfigFlags> config = std::make_shared<ConfigFlags>();
  bool overload = false;
  unsigned jobs = 0;
  bool as_json = false;
};

// Ends the command if `result` is an error, one of the command line's or of the work's.
template <typename T>
T OrUsage(Result<T> result) {
  if (!result) Fail(result.error().message, kUsage);
  return std::move(*result);
}

void OrFail(const Result<void>& result);

// The flags of all three.
void AddCommonFlags(CLI::App& command, SimFlags& flags);
// --vary, whose texts go to `vary`.
void AddVary(CLI::App& command, std::vector<std::string>& vary,
             const std::string& help);

std::vector<simulation::Variation> ReadVariations(
    const std::vector<std::string>& texts);
// The scenario's file's settings, then the flags'.
std::vector<Setting> ReadSettings(const ConfigFlags& flags);
// What tells a curve from another: all that is varied but the load.
std::string Label(const simulation::SweepPoint& point,
                  const std::vector<simulation::Variation>& variations);

// Calls `run`, which Ctrl-C stops.
void WithInterrupt(
    const std::function<void(const std::function<bool()>& stopped)>& run);
// All of them, with progress on standard error; ends the command if it is interrupted.
std::vector<simulation::Outcome> RunAll(
    std::span<const simulation::Scenario> scenarios, unsigned jobs);
// How many at a time.
unsigned Jobs(unsigned asked);

// "12.3 +-0.4"; a dash if it is not known.
std::string Text(double value);
std::string Text(const sim::Estimate& estimate);

// Refuses what cannot be written, before the work.
void CheckFiles(const std::string& csv, const std::string& report);
void WriteReport(std::vector<load::LoadResult> curves,
                 const simulation::Scenario& any, const std::string& path);

}  // namespace yamanote::tools
