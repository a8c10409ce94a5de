// trace_fuzzer.cc - whatever is in a trace, reading it ends, and what was read is sound.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "tools/sim/trace.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  using yamanote::simulation::ParseTrace;
  const auto trace =
      ParseTrace({reinterpret_cast<const char*>(data), size}, "fuzzed");
  if (!trace) {
    YAMANOTE_CHECK(!trace.error().message.empty(), "an error says something");
    return 0;
  }
  int64_t last = 0;
  for (const auto& request : trace->requests) {
    YAMANOTE_CHECK(request.at_ns >= last && request.service_ns >= 1 &&
                       request.request_class < trace->classes.size(),
                   "a request is sound");
    last = request.at_ns;
  }
  return 0;
}
