// no_probes.cc - `yamanote bench probes` in a build without kernels.

#include "tools/bench/probes.h"

namespace yamanote::bench {

std::vector<std::string> KernelNames() { return {}; }

Result<ProbesResult> RunProbes(const ProbesOptions&) {
  return MakeError(
      ErrorCode::kUnsupported,
      "bench probes has nothing to measure: this `yamanote` was configured "
      "with " YAMANOTE_BENCH_NO_KERNELS
      ", and its kernels need a build with probes and without a sanitizer; "
      "take the one of `make build`");
}

}  // namespace yamanote::bench
