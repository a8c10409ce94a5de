// demo.h - the comparison behind `yamanote demo`.
//
// 1. One contender after another is started, filled and probed briefly for the
//    highest load it sustains. From then on all of them run, and sleep unless
//    they are driven.
// 2. The loads are shares of the highest of these, the same for all, so that
//    the curves can be read against each other.
// 3. In each round every contender is driven at every load, in turn and for some
//    tenths of a second, so that what the machine does meanwhile meets all points
//    alike; figures are medians over the rounds.

#pragma once

#include <string>
#include <utility>
#include <vector>

#include "tools/demo/plan.h"
#include "tools/demo/screen.h"
#include "tools/demo/server_process.h"
#include "tools/report/report.h"
#include "yamanote/result.h"
#include "yamanote/time.h"

namespace yamanote::demo {

// A server to compare: one of our presets or any that speaks memcached's
// protocol.
struct Contender {
  std::string name;
  // The words of the command; "{port}" and "{cpus}" are replaced in each.
  std::vector<std::string> argv;
  bool prints_ready = true;
  report::SchedulerFacts facts{};
  bool has_slice = false;
};

// Returns the contender for `preset`; `program` is the yamanote to run.
// kNotFound lists the presets that there are.
Result<Contender> PresetContender(const std::string& preset,
                                  const std::string& program);

// Reads "NAME=COMMAND"; COMMAND is run by /bin/sh and must contain {port}.
Result<Contender> ForeignContender(const std::string& text);

struct DemoOptions {
  std::vector<Contender> contenders;
  Duration total = std::chrono::seconds(150);
  CpuLayout cpus{};
  std::string service = "get:99.5%,mget500:0.5%";
  unsigned connections = 32;
};

// The least `total` with which every point can be measured at all.
Duration LeastTotal(size_t contenders);

struct DemoResult {
  report::Report report;
  // By which mechanism which contender preempts; empty if none does.
  std::string preemption{};
  std::vector<std::string> failures;  // One for each contender that failed.
};

// Runs the comparison; tells `screen` how far it is. kCancelled if interrupted;
// kUnavailable if every contender failed. Blocks for about options.total.
Result<DemoResult> RunDemo(const DemoOptions& options, Screen& screen,
                           const Interrupts& interrupts);

}  // namespace yamanote::demo
