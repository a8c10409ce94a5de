// workload_fuzz.cc - no text of --service, --arrivals, --objective or
// --popularity crashes, and what is accepted can be drawn from.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "tools/load/schedule.h"
#include "tools/load/search.h"
#include "tools/load/wire.h"
#include "tools/load/workload.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace yamanote::load;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  static_cast<void>(Arrivals::Parse(text));
  static_cast<void>(Popularity::Parse(text));
  for (const Application application :
       {Application::kSpin, Application::kKv, Application::kRocksdb}) {
    const auto workload = Workload::Parse(application, text);
    if (!workload) {
      if (workload.error().message.empty()) std::abort();
      continue;
    }
    static_cast<void>(Objective::Parse(text, *workload));
    yamanote::base::Random random(size);
    for (int i = 0; i < 16; ++i) {
      const uint8_t drawn = workload->DrawClass(random);
      if (drawn >= workload->classes().size()) std::abort();
      if (application == Application::kSpin &&
          workload->DrawService(drawn, random) > 4'000'000'000u) {
        std::abort();
      }
    }
  }
  static const auto kMix = Workload::Parse(Application::kKv, "get:90%,set:10%");
  static_cast<void>(Objective::Parse(text, *kMix));
  return 0;
}
