// command.cc - prints orders, placements, presets and the options they have.
//
// Everything comes from the tables that the runtime itself uses: Policies(),
// Presets() and the options of tools/config.

#include "tools/policies/command.h"

#include <fmt/core.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "tools/config/options.h"
#include "tools/config/values.h"
#include "tools/output/json.h"
#include "yamanote/core_policy.h"
#include "yamanote/policy.h"
#include "yamanote/scheduling.h"

namespace yamanote::tools {
namespace {

using Json = nlohmann::ordered_json;

struct PlacementInfo {
  PlacementKind kind;
  std::string_view summary;
};

// The placements' own words; their names come from ToString().
constexpr PlacementInfo kPlacements[] = {
    {PlacementKind::kCentral,
     "one queue for all cores; a dispatcher (--dispatcher auto: from 4 cores "
     "on), or whichever core is free, hands tasks out (Shinjuku, Concord)"},
    {PlacementKind::kPartitioned,
     "a queue per core, chosen by the connection's hash; work stays "
     "where it arrived (IX)"},
    {PlacementKind::kStealing,
     "as partitioned, and an idle core takes connections from others "
     "(ZygOS)"},
    {PlacementKind::kTwoLevel,
     "a queue per core, chosen by the least load, each ordered by "
     "itself (Tiny Quanta)"},
};

std::string_view ToString(ClockUse clock) {
  switch (clock) {
    case ClockUse::kNone:
      return "none";
    case ClockUse::kNow:
      return "now";
    case ClockUse::kRunTime:
      return "run time";
  }
  return "unknown";
}

Json OrdersJson() {
  Json orders = Json::array();
  for (const PolicyInfo* order : Policies()) {
    orders.push_back(
        {{"name", order->name},
         {"summary", order->summary},
         {"good_at", order->good_at},
         {"bad_at", order->bad_at},
         {"source", order->source},
         {"clock", ToString(order->clock)},
         {"work_conserving", order->work_conserving},
         {"starves",
          order->starves.empty() ? Json(nullptr) : Json(order->starves)}});
  }
  return orders;
}

Json AllocationsJson() {
  Json allocations = Json::array();
  for (const CorePolicyInfo* policy : CorePolicies()) {
    allocations.push_back({{"name", policy->name},
                           {"summary", policy->summary},
                           {"good_at", policy->good_at},
                           {"bad_at", policy->bad_at},
                           {"source", policy->source},
                           {"parks", policy->parks}});
  }
  return allocations;
}

Json PresetsJson() {
  Json presets = Json::array();
  for (const PresetInfo& preset : Presets()) {
    const Scheduling& s = preset.scheduling;
    presets.push_back(
        {{"name", preset.name},
         {"summary", preset.summary},
         {"default", preset.name == kDefaultPreset},
         {"order", s.order},
         {"slice", FormatSlice(SliceRange(s.slice.least))},
         {"slice_max", s.slice.Adapts() ? Json(FormatDuration(s.slice.most))
                                        : Json(nullptr)},
         {"rejoin", yamanote::ToString(s.rejoin)},
         {"placement", yamanote::ToString(s.placement)},
         {"dispatcher", yamanote::ToString(s.dispatcher)},
         {"slots", s.slots},
         {"steal", s.steal},
         {"replies", yamanote::ToString(s.replies)},
         {"allocation", s.allocation}});
  }
  return presets;
}

Json OptionsJson() {
  Json options = Json::array();
  for (const OptionSpec& option : Options()) {
    if (option.section != "scheduling") continue;
    options.push_back({{"key", option.Name()},
                       {"flag", option.flag},
                       {"type", ToString(option.kind)},
                       {"limits", option.limits},
                       {"help", option.help}});
  }
  return options;
}

void PrintJson() {
  Json placements = Json::array();
  for (const PlacementInfo& placement : kPlacements) {
    placements.push_back({{"name", yamanote::ToString(placement.kind)},
                          {"summary", placement.summary}});
  }
  const Json document = {{"orders", OrdersJson()},
                         {"placements", placements},
                         {"allocations", AllocationsJson()},
                         {"presets", PresetsJson()},
                         {"options", OptionsJson()}};
  fmt::print("{}\n", JsonText(document, 2));
}

void PrintText() {
  fmt::print("Orders: which task runs next within one domain (--order)\n");
  for (const PolicyInfo* order : Policies()) {
    fmt::print("  {:<14} {}\n", order->name, order->summary);
    fmt::print("  {:<14}   good at: {}\n", "", order->good_at);
    fmt::print("  {:<14}   bad at:  {}\n", "", order->bad_at);
    fmt::print("  {:<14}   starves: {}\n", "",
               order->starves.empty() ? "nobody" : order->starves);
    fmt::print("  {:<14}   source:  {}\n", "", order->source);
  }
  fmt::print("\nPlacements: which cores share a queue (--placement)\n");
  for (const PlacementInfo& placement : kPlacements) {
    fmt::print("  {:<14} {}\n", yamanote::ToString(placement.kind),
               placement.summary);
  }
  fmt::print(
      "\nAllocations: how many cores, where an arbiter hands them out "
      "(--allocation)\n");
  for (const CorePolicyInfo* policy : CorePolicies()) {
    fmt::print("  {:<14} {}\n", policy->name, policy->summary);
    fmt::print("  {:<14}   good at: {}\n", "", policy->good_at);
    fmt::print("  {:<14}   bad at:  {}\n", "", policy->bad_at);
    fmt::print("  {:<14}   source:  {}\n", "", policy->source);
  }
  fmt::print("\nPresets: published combinations (--preset)\n");
  for (const PresetInfo& preset : Presets()) {
    const Scheduling& s = preset.scheduling;
    fmt::print("  {:<14} {}\n", preset.name, preset.summary);
    fmt::print(
        "  {:<14}   order {}, slice {}, placement {}, dispatcher {}, slots {}, "
        "replies {}, allocation {}{}\n",
        "", s.order, FormatSlice(s.slice), yamanote::ToString(s.placement),
        yamanote::ToString(s.dispatcher), s.slots,
        yamanote::ToString(s.replies), s.allocation, s.steal ? ", steals" : "");
  }
  fmt::print("\nOptions that override a preset's parts\n");
  for (const OptionSpec& option : Options()) {
    if (option.section != "scheduling") continue;
    fmt::print("  {:<14} {} [{}]\n", option.flag, option.help, option.limits);
  }
}

}  // namespace

void AddPoliciesCommand(CLI::App& app) {
  CLI::App* const command = app.add_subcommand(
      "policies",
      "List the orders, placements and presets, and when to use which");
  const auto as_json = std::make_shared<bool>(false);
  command->add_flag("--json", *as_json, "Print one JSON document");
  command->footer(
      "Examples:\n"
      "  yamanote policies\n"
      "  yamanote policies --json | jq -r '.presets[].name'\n"
      "  yamanote serve kv --preset shinjuku --slice 10us   # override a part");
  command->callback([as_json] { *as_json ? PrintJson() : PrintText(); });
}

}  // namespace yamanote::tools
