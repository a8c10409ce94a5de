// slices.cc - reads and words how slices ended.

#include "tools/demo/slices.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

#include "tools/output/json.h"

namespace yamanote::demo {

std::string MechanismOf(std::string_view ready_line) {
  constexpr std::string_view kBefore = " preemption ";
  const size_t at = ready_line.find(kBefore);
  if (at == std::string_view::npos) return "unknown";
  const std::string_view rest = ready_line.substr(at + kBefore.size());
  return std::string(rest.substr(0, rest.find(' ')));
}

Result<SliceEnds> ReadSliceEnds(std::string_view final_line) {
  const auto json = tools::ParseJson(final_line);
  const auto count = [&](const char* name) -> const nlohmann::json* {
    if (!json.is_object() || !json.contains("event") ||
        json["event"] != "final" || !json.contains("runtime"))
      return nullptr;
    const nlohmann::json& runtime = json["runtime"];
    if (!runtime.is_object() || !runtime.contains(name) ||
        !runtime[name].is_number_unsigned())
      return nullptr;
    return &runtime[name];
  };
  const nlohmann::json* const all = count("slices_ended");
  const nlohmann::json* const preemptions = count("preemptions");
  if (all == nullptr || preemptions == nullptr || *preemptions > *all) {
    return MakeError(ErrorCode::kInvalidArgument,
                     fmt::format("it printed no final statistics but '{}'",
                                 final_line.substr(0, 100)));
  }
  SliceEnds ends;
  ends.at_probes = preemptions->get<uint64_t>();
  ends.voluntary = all->get<uint64_t>() - ends.at_probes;
  return ends;
}

std::string CountsOf(const SliceEnds& ends) {
  if (!ends.unknown.empty()) return fmt::format("not known: {}", ends.unknown);
  return fmt::format("{} at probes, {} at voluntary points", ends.at_probes,
                     ends.voluntary);
}

std::string SliceSentence(const std::vector<SliceEnds>& slices) {
  if (slices.empty()) return "";
  std::vector<std::string> parts;
  for (const SliceEnds& ends : slices) {
    parts.push_back(fmt::format("{} {} (mechanism: {})", ends.name,
                                CountsOf(ends), ends.mechanism));
  }
  return fmt::format(
      "Slices that ended, by each server's own count from its start to its "
      "end, "
      "calibration included: {}. Voluntary points are where the service itself "
      "calls CheckPreempt().",
      fmt::join(parts, "; "));
}

std::string SliceTable(const std::vector<SliceEnds>& slices) {
  if (slices.empty()) return "";
  std::string text = fmt::format(
      "slices ended, calibration included\n"
      "  {:<14} {:>12} {:>20}  mechanism\n",
      "", "at probes", "at voluntary points");
  for (const SliceEnds& ends : slices) {
    text +=
        ends.unknown.empty()
            ? fmt::format("  {:<14} {:>12} {:>20}  {}\n", ends.name,
                          ends.at_probes, ends.voluntary, ends.mechanism)
            : fmt::format("  {:<14} not known: {}\n", ends.name, ends.unknown);
  }
  return text;
}

}  // namespace yamanote::demo
