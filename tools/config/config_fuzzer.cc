// config_fuzzer.cc - any bytes as a value, a CPU list, and a whole TOML file.
//
// Checks that nothing crashes and that what was accepted prints to a text that
// parses to the same value.

#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "tools/config/config.h"
#include "tools/config/values.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace yamanote::tools;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto duration = ParseDuration(text)) {
    YAMANOTE_CHECK(
        ParseDuration(FormatDuration(*duration)).value() == *duration,
        "a printed duration must parse to itself");
  }
  if (const auto bytes = ParseBytes(text)) {
    YAMANOTE_CHECK(ParseBytes(FormatBytes(*bytes)).value() == *bytes,
                   "a printed size must parse to itself");
  }
  static_cast<void>(ParseCount(text));
  static_cast<void>(ParseBool(text));
  if (const auto cpus = ParseCpuList(text)) {
    YAMANOTE_CHECK(ParseCpuList(FormatCpuList(*cpus)).value() == *cpus,
                   "a printed CPU list must parse to itself");
  }
  // Presets and combinations too: Build() must refuse or accept, never crash.
  if (const auto settings = ParseToml(text, "fuzz.toml")) {
    if (const auto config = Build(*settings)) {
      const std::string printed = PrintConfig(*config);
      const auto again = ParseToml(printed, "printed.toml");
      YAMANOTE_CHECK(again.has_value(), "a printed configuration must parse");
      YAMANOTE_CHECK(Build(*again).has_value(), "and be accepted");
    }
  }
  return 0;
}
