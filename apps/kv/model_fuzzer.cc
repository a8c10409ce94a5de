// model_fuzzer.cc - the fuzzer chooses the commands; the model knows the
// answers.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "apps/kv/model.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  size_t at = 0;
  yamanote::kv::ModelCheck check([&](uint32_t below) {
    uint32_t value = 0;
    // As many bytes as the choice needs, so that one byte decides one thing.
    for (uint32_t rest = below - 1; rest > 0; rest >>= 8) {
      value = value << 8 | (at < size ? data[at++] : 0);
    }
    return value % below;
  });
  for (int step = 0; step < 2000 && at < size; ++step) {
    const std::string difference = check.Step();
    if (difference.empty()) continue;
    std::fprintf(stderr, "the model disagrees:\n%s\n", difference.c_str());
    std::abort();
  }
  return 0;
}
