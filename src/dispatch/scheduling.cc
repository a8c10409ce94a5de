// scheduling.cc - the presets, and which combinations are possible.

#include "yamanote/scheduling.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "yamanote/core_policy.h"

namespace yamanote {
namespace {

using namespace std::chrono_literals;

std::vector<PresetInfo> MakePresets() {
  return {
      {"ix",
       "a queue per core, chosen by the flow's hash, no stealing "
       "(IX, OSDI 2014)",
       {.preset = "ix", .placement = PlacementKind::kPartitioned}},
      {"zygos",
       "as ix, and idle cores steal; "
       "replies through the home core (ZygOS, SOSP 2017)",
       {.preset = "zygos",
        .placement = PlacementKind::kStealing,
        .replies = ReplyPath::kHome}},
      {"shinjuku",
       "one queue, from 4 cores on a dispatcher, slices of 5us "
       "(Shinjuku, NSDI 2019)",
       {.preset = "shinjuku",
        .slice = 5us,
        .placement = PlacementKind::kCentral,
        .slots = 1}},
      {"shinjuku-mq",
       "as shinjuku, a queue per class ordered by waiting per objective",
       {.preset = "shinjuku-mq",
        .order = "slo-ratio",
        .slice = 5us,
        .rejoin = Rejoin::kHead,
        .placement = PlacementKind::kCentral,
        .slots = 1}},
      {"concord",
       "as shinjuku, the dispatcher gives each worker one task more "
       "(Concord, SOSP 2023)",
       {.preset = "concord",
        .slice = 5us,
        .placement = PlacementKind::kCentral,
        .slots = 2}},
      {"tq",
       "least-loaded core, round robin of 2us on each "
       "(Tiny Quanta, ASPLOS 2024)",
       {.preset = "tq",
        .order = "rr",
        .slice = 2us,
        .placement = PlacementKind::kTwoLevel}},
      {"shenango",
       "a queue per core, idle cores steal; another core when tasks wait for "
       "an interval (Shenango, NSDI 2019)",
       {.preset = "shenango",
        .placement = PlacementKind::kStealing,
        .allocation = "congestion"}},
      {"caladan",
       "as shenango, another core when tasks wait for 10us "
       "(Caladan, OSDI 2020)",
       {.preset = "caladan",
        .placement = PlacementKind::kStealing,
        .allocation = "delay"}},
      // The slices are those of the code published with it; where it balances
      // cores, a thief does.
      {"skyloft-rr",
       "least-loaded core, idle cores steal, round robin of 50us "
       "(Skyloft, SOSP 2024)",
       {.preset = "skyloft-rr",
        .order = "rr",
        .slice = 50us,
        .placement = PlacementKind::kTwoLevel,
        .steal = true}},
      {"skyloft-cfs",
       "as skyloft-rr, fair by weight, all run once in 50us",
       {.preset = "skyloft-cfs",
        .order = "cfs",
        .slice = 50us,
        .placement = PlacementKind::kTwoLevel,
        .steal = true}},
      {"skyloft-eevdf",
       "as skyloft-rr, earliest eligible deadline, requests of 12.5us",
       {.preset = "skyloft-eevdf",
        .order = "eevdf",
        .slice = 12'500ns,
        .placement = PlacementKind::kTwoLevel,
        .steal = true}},
      {"persephone",
       "one queue, cores reserved for short classes, no slices "
       "(Persephone, SOSP 2021)",
       {.preset = "persephone",
        .order = "darc",
        .placement = PlacementKind::kCentral,
        .slots = 1}},
      // The least-loaded core is the best guess when a task comes, stealing mends
      // it when it was wrong, and a slice bounds what a long task does to the
      // short ones behind it; how long it should be depends on the tasks. Who has used
      // one up is likely to be long, so those that have not go first. ADR 0014, 0024
      // and 0025 have what is measured.
      {"yamanote",
       "least-loaded core, idle cores steal, fewest slices used up first, "
       "slices adapt: 2us to 100us (the default)",
       {.preset = "yamanote",
        .order = "mlfq",
        .slice = kAdaptiveSlice,
        .placement = PlacementKind::kTwoLevel,
        .steal = true,
        .allocation = "delay-range"}},
  };
}

tl::unexpected<Error> Invalid(std::string message) {
  return MakeError(ErrorCode::kInvalidArgument, std::move(message));
}

// "50us", "12500ns" or "none".
std::string Text(Duration slice) {
  if (slice == kNoPreemption) return "none";
  const int64_t nanos = ToNanos(slice);
  return nanos % 1000 == 0 ? fmt::format("{}us", nanos / 1000)
                           : fmt::format("{}ns", nanos);
}

constexpr Duration kLongestAdaptive = std::chrono::seconds(10);

Result<void> ValidateSlices(const Scheduling& s) {
  const auto& [least, most] = s.slice;
  if (least <= Duration::zero()) {
    return Invalid(
        fmt::format("slice is {} ns; it must be more than 0: "
                    "leave it out for no preemption",
                    ToNanos(least)));
  }
  if (s.slice.Adapts() && most > least && most > kLongestAdaptive) {
    return Invalid(
        fmt::format("slice_max is {}; slices adapt up to 10s at most: lower it",
                    Text(most)));
  }
  if (!s.slice.Adapts() || most > least) return {};
  if (least == kNoPreemption) {
    return Invalid(fmt::format(
        "slice_max is {}, but slice is none, so there is nothing that adapts; "
        "set slice, for example to 5us, or leave slice_max out ('fixed')",
        Text(most)));
  }
  return Invalid(fmt::format(
      "slice_max is {}, but slice is {}, from which on it adapts; slice_max "
      "must be more: raise it, or leave it out ('fixed') for a fixed slice",
      Text(most), Text(least)));
}

constexpr Duration kLongestPeriod = std::chrono::hours(1);

Result<void> ValidateReservation(const ClassOptions& options, size_t i) {
  const auto& [budget, period] = std::pair(options.budget, options.period);
  constexpr Duration kNone = Duration::zero();
  if (budget == kNone && period == kNone) return {};
  if (budget == kNone || period == kNone) {
    return Invalid(fmt::format(
        "classes[{}].budget of '{}' is {} ns and its period {} ns; a "
        "reservation has both: set the other, or both to 0 for none",
        i, options.name, ToNanos(budget), ToNanos(period)));
  }
  if (period < kNone || period > kLongestPeriod) {
    return Invalid(fmt::format(
        "classes[{}].period of '{}' is {} ns; the limits are 1 ns and 1h: set "
        "how often the class's tasks are to have their budget",
        i, options.name, ToNanos(period)));
  }
  if (budget < kNone || budget > period) {
    return Invalid(fmt::format(
        "classes[{}].budget of '{}' is {} ns; the limits are 1 ns and the "
        "period, {} ns, for a task runs on one core at a time: lower it, or "
        "raise the period",
        i, options.name, ToNanos(budget), ToNanos(period)));
  }
  return {};
}

Result<void> ValidateClasses(const std::vector<ClassOptions>& classes) {
  constexpr size_t kMostClasses = UINT16_MAX;
  if (classes.empty() || classes.size() > kMostClasses) {
    return Invalid(
        fmt::format("classes has {} entries; the limits are 1 and {}: list at "
                    "least the default class",
                    classes.size(), kMostClasses));
  }
  std::set<std::string_view> names;
  for (size_t i = 0; i < classes.size(); ++i) {
    const ClassOptions& options = classes[i];
    if (options.name.empty()) {
      return Invalid(
          fmt::format("classes[{}].name is empty; give the class a name", i));
    }
    if (!names.insert(options.name).second) {
      return Invalid(
          fmt::format("classes[{}].name is '{}', which an earlier class has; "
                      "names must differ",
                      i, options.name));
    }
    if (options.slo <= Duration::zero()) {
      return Invalid(fmt::format(
          "classes[{}].slo of '{}' is {} ns; it must be more than 0: "
          "set the p99 that the class has when it runs alone",
          i, options.name, ToNanos(options.slo)));
    }
    if (Result<void> valid = ValidateReservation(options, i); !valid)
      return valid;
    if (options.limit == 0) {
      return Invalid(
          fmt::format("classes[{}].limit of '{}' is 0; it must be at least 1: "
                      "with 0 every request would be refused",
                      i, options.name));
    }
  }
  return {};
}

std::string OrderNames() {
  std::string names;
  for (const PolicyInfo* const info : Policies()) {
    if (!names.empty()) names += ", ";
    names += info->name;
  }
  return names;
}

Result<void> ValidateBackground(const Scheduling& s) {
  const auto found = std::ranges::find_if(s.classes, &ClassOptions::background);
  if (found == s.classes.end() || FindPolicy(s.order)->background) return {};
  std::string names;
  for (const PolicyInfo* const info : Policies()) {
    if (!info->background) continue;
    if (!names.empty()) names += ", ";
    names += info->name;
  }
  return Invalid(
      fmt::format("classes[{}].background of '{}' is true, but order '{}' "
                  "serves all classes; set order to one of {}, or background "
                  "to false",
                  found - s.classes.begin(), found->name, s.order, names));
}

std::string CorePolicyNames() {
  std::string names;
  for (const CorePolicyInfo* const info : CorePolicies()) {
    if (!names.empty()) names += ", ";
    names += info->name;
  }
  return names;
}

Result<void> ValidatePlacement(const Scheduling& s, unsigned cores) {
  const std::string_view placement = ToString(s.placement);
  if (s.slots < 1 || s.slots > kMaxSlots) {
    return Invalid(
        fmt::format("slots is {}; the limits are 1 and {}: "
                    "1 is Shinjuku, 2 is Concord",
                    s.slots, kMaxSlots));
  }
  if (s.placement != PlacementKind::kCentral) {
    if (s.slots != 1) {
      return Invalid(
          fmt::format("slots is {}, but placement '{}' has no dispatcher that "
                      "fills them; set slots to 1 or placement to 'central'",
                      s.slots, placement));
    }
    if (s.dispatcher == DispatcherKind::kDedicated) {
      return Invalid(
          fmt::format("dispatcher is 'dedicated', but placement is '{}'; set "
                      "dispatcher to 'auto' or placement to 'central'",
                      placement));
    }
  } else {
    if (s.dispatcher == DispatcherKind::kDedicated && cores < 2) {
      return Invalid(
          fmt::format("dispatcher is 'dedicated', but there is {} core and it "
                      "needs 2; add a core or set dispatcher to 'auto'",
                      cores));
    }
    if (s.replies == ReplyPath::kHome) {
      return Invalid(
          "replies is 'home', but placement 'central' has no home cores; set "
          "replies to 'direct' or placement to 'stealing'");
    }
  }
  if (s.steal && s.placement != PlacementKind::kTwoLevel) {
    return Invalid(fmt::format(
        "steal is true, but placement is '{}'; steal belongs to 'two-level' "
        "(placement 'stealing' always steals): set steal to false",
        placement));
  }
  return {};
}

}  // namespace

std::span<const PresetInfo> Presets() {
  static const std::vector<PresetInfo> presets = MakePresets();
  return presets;
}

Result<Scheduling> FindPreset(std::string_view name) {
  std::string names;
  for (const PresetInfo& preset : Presets()) {
    if (preset.name == name) return preset.scheduling;
    if (!names.empty()) names += ", ";
    names += preset.name;
  }
  return MakeError(
      ErrorCode::kNotFound,
      fmt::format("preset is '{}', which does not exist; use one of {}", name,
                  names));
}

Scheduling DefaultScheduling() { return FindPreset(kDefaultPreset).value(); }

bool HasDedicatedDispatcher(const Scheduling& s, unsigned cores) {
  if (s.placement != PlacementKind::kCentral || cores < 2) return false;
  return s.dispatcher == DispatcherKind::kDedicated ||
         (s.dispatcher == DispatcherKind::kAuto &&
          cores >= kAutoDedicatedCores);
}

Result<void> Validate(const Scheduling& s, unsigned cores, unsigned most) {
  if (cores < 1 || cores > most) {
    return Invalid(fmt::format(
        "cores is {}; the limits are 1 and {}: name the cores to use", cores,
        most));
  }
  if (FindPolicy(s.order) == nullptr) {
    return Invalid(
        fmt::format("order is '{}', which does not exist; use one of {}",
                    s.order, OrderNames()));
  }
  if (FindCorePolicy(s.allocation) == nullptr) {
    return Invalid(
        fmt::format("allocation is '{}', which does not exist; use one of {}",
                    s.allocation, CorePolicyNames()));
  }
  if (const Result<void> valid = ValidateSlices(s); !valid) return valid;
  if (const Result<void> valid = ValidatePlacement(s, cores); !valid)
    return valid;
  if (const Result<void> valid = ValidateClasses(s.classes); !valid)
    return valid;
  return ValidateBackground(s);
}

Result<Scheduling> ForArbiter(Scheduling s, unsigned cores) {
  if (s.dispatcher == DispatcherKind::kAuto)
    s.dispatcher = DispatcherKind::kShared;
  const char* const shared =
      "an arbiter may take any core at any time, and what waits there must be "
      "able to leave";
  if (HasDedicatedDispatcher(s, cores)) {
    return Invalid(fmt::format(
        "dispatcher is 'dedicated', but {}; set dispatcher to 'shared'",
        shared));
  }
  if (s.placement == PlacementKind::kPartitioned ||
      (s.placement == PlacementKind::kTwoLevel && !s.steal)) {
    return Invalid(fmt::format(
        "placement is '{}'{}, which binds tasks to cores, but {}; set "
        "placement to 'central' or 'stealing', or to 'two-level' and steal to "
        "true",
        ToString(s.placement),
        s.placement == PlacementKind::kTwoLevel ? " without steal" : "",
        shared));
  }
  const PolicyInfo* const order = FindPolicy(s.order);
  if (order != nullptr && !order->work_conserving) {
    return Invalid(fmt::format(
        "order is '{}', which keeps tasks back for certain cores, but {}; use "
        "a work-conserving order, for example 'slo-ratio'",
        s.order, shared));
  }
  return s;
}

std::string_view ToString(PlacementKind kind) {
  switch (kind) {
    case PlacementKind::kCentral:
      return "central";
    case PlacementKind::kPartitioned:
      return "partitioned";
    case PlacementKind::kStealing:
      return "stealing";
    case PlacementKind::kTwoLevel:
      return "two-level";
  }
  return "unknown";
}

std::string_view ToString(DispatcherKind kind) {
  switch (kind) {
    case DispatcherKind::kShared:
      return "shared";
    case DispatcherKind::kDedicated:
      return "dedicated";
    case DispatcherKind::kAuto:
      return "auto";
  }
  return "unknown";
}

std::string_view ToString(ReplyPath path) {
  switch (path) {
    case ReplyPath::kDirect:
      return "direct";
    case ReplyPath::kHome:
      return "home";
  }
  return "unknown";
}

std::string_view ToString(Rejoin rejoin) {
  switch (rejoin) {
    case Rejoin::kTail:
      return "tail";
    case Rejoin::kHead:
      return "head";
  }
  return "unknown";
}

}  // namespace yamanote
