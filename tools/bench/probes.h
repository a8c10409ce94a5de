// probes.h - `yamanote bench probes`: what probes cost, and how far apart they are.
//
// The same kernels without probes and with are in this program; both are timed
// in turn, in eight layouts each, in every round. probes.cc measures;
// no_probes.cc stands in where a build has no kernels, and says so.

#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "tools/bench/gaps.h"
#include "tools/bench/overhead.h"
#include "yamanote/result.h"
#include "yamanote/time.h"

namespace yamanote::bench {

struct ProbesOptions {
  std::vector<std::string> kernels;  // Of KernelNames(); empty: all.
  unsigned rounds = 10;              // At least 1.
  // No further round begins so long after the start; the first one always does.
  Duration budget = Duration::max();
  // Called before a kernel is measured: its name, the round from 0 on. May be
  // empty.
  std::function<void(std::string_view, unsigned)> progress;
};

struct KernelFigures {
  std::string name;
  uint64_t n = 0;       // What it was called with.
  double plain_ns = 0;  // Medians over rounds and layouts.
  double probes_ns = 0;
  Spread overhead;  // Shares.
  Gaps gaps;        // In the first layout.
  std::vector<LayoutTimes> times;
};

struct ProbesResult {
  unsigned rounds = 0;
  int runs = 0;  // Of which each time is that of the fastest.
  std::vector<KernelFigures> kernels;
  Spread overhead;  // Of the rounds' geometric means over the kernels.
};

// Empty if this build has none.
std::vector<std::string> KernelNames();

// On the calling thread; about 0.1 s for each kernel and round. kUnsupported:
// this build has no kernels. kInternal: the builds' results differ.
Result<ProbesResult> RunProbes(const ProbesOptions& options);

}  // namespace yamanote::bench
