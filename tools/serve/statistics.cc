// statistics.cc - prints counters.

#include "tools/serve/statistics.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "tools/output/json.h"

namespace yamanote::tools {
namespace {

using Counters = std::vector<std::pair<const char*, uint64_t>>;

// Whatever a client did not get.
Counters Trouble(const ServerStats& s) {
  return {{"refused_connections", s.refused_connections},
          {"overloaded", s.overloaded},
          {"too_large", s.too_large},
          {"malformed", s.malformed},
          {"shutdown", s.shutdown},
          {"truncated", s.truncated},
          {"timed_out", s.timed_out},
          {"dropped", s.dropped},
          {"kernel_dropped", s.kernel_dropped},
          {"unsent", s.unsent}};
}

Counters Work(const ServerStats& s) {
  return {
      {"accepted", s.accepted},         {"open", s.open},
      {"requests", s.requests},         {"replies", s.replies},
      {"buffer_bytes", s.buffer_bytes}, {"bytes_in", s.bytes_in},
      {"bytes_out", s.bytes_out},       {"receive_batches", s.receive_batches},
      {"send_batches", s.send_batches}};
}

Counters Scheduling(const RuntimeStats& s) {
  return {
      {"spawned", s.spawned},
      {"switches", s.switches},
      {"steals", s.steals},
      {"yields", s.yields},
      {"slices_ended", s.slices_ended},
      {"preemptions", s.preemptions},
      {"held_off", s.held_off},
      {"adaptive_slice_ns", static_cast<uint64_t>(ToNanos(s.adaptive_slice))},
      {"parks", s.parks},
      {"wakes", s.wakes}};
}

double Seconds(Duration duration) {
  return std::chrono::duration<double>(duration).count();
}

double RequestRate(const Statistics& now, const Statistics& before) {
  const double seconds = Seconds(now.uptime - before.uptime);
  if (seconds <= 0) return 0;
  return static_cast<double>(now.server.requests - before.server.requests) /
         seconds;
}

void Add(nlohmann::ordered_json& json, const Counters& counters) {
  for (const auto& [name, value] : counters) json[name] = value;
}

void Add(std::string& text, const char* title, const Counters& counters,
         bool zeros) {
  std::string line;
  for (const auto& [name, value] : counters) {
    if (value == 0 && !zeros) continue;
    line += fmt::format("  {} {}", name, value);
  }
  text += fmt::format("  {:<10}{}\n", title, line.empty() ? "  none" : line);
}

}  // namespace

std::string StatisticsText(const Statistics& now, const Statistics& before) {
  std::string text = fmt::format(
      "statistics after {:.1f} s: {} requests, "
      "{:.0f} a second since the last report\n",
      Seconds(now.uptime), now.server.requests, RequestRate(now, before));
  Add(text, "server", Work(now.server), true);
  Add(text, "refused", Trouble(now.server), false);
  Add(text, "scheduler", Scheduling(now.runtime), true);
  return text;
}

std::string StatisticsJson(const Statistics& now, const Statistics& before,
                           std::string_view event) {
  nlohmann::ordered_json server, runtime;
  Add(server, Work(now.server));
  Add(server, Trouble(now.server));
  Add(runtime, Scheduling(now.runtime));
  const nlohmann::ordered_json json = {
      {"event", event},
      {"uptime_s", Seconds(now.uptime)},
      {"requests_per_s", RequestRate(now, before)},
      {"server", server},
      {"runtime", runtime}};
  return JsonText(json) + "\n";
}

}  // namespace yamanote::tools
