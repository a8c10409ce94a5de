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
#include <vector>

#include "tools/demo/contender.h"
#include "tools/demo/plan.h"
#include "tools/demo/screen.h"
#include "tools/demo/server_process.h"
#include "tools/demo/slices.h"
#include "tools/report/report.h"
#include "yamanote/result.h"
#include "yamanote/time.h"

namespace yamanote::demo {

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
  std::vector<SliceEnds> slices{};    // One for each contender that has slices.
  std::vector<std::string> failures;  // One for each contender that failed.
};

// Runs the comparison; tells `screen` how far it is. kCancelled if interrupted;
// kUnavailable if every contender failed. Blocks for about options.total.
Result<DemoResult> RunDemo(const DemoOptions& options, Screen& screen,
                           const Interrupts& interrupts);

}  // namespace yamanote::demo
