// agents.cc - which agents a scheduler needs.

#include "native/agents.h"

#include <fmt/format.h>

#include "native/cpu_agents.h"
#include "native/global_agent.h"

namespace yamanote::native {

namespace {

constexpr uint32_t kMostMessages = 1U << 20;

}  // namespace

Result<Scheduling> ForNative(Scheduling scheduling, unsigned cores) {
  if (scheduling.slice.Adapts()) {
    return MakeError(ErrorCode::kInvalidArgument,
                     "slice is 'adaptive', but native threads have no adaptive "
                     "slices yet; set "
                     "slice to a duration, for example 1ms, or to none");
  }
  if (scheduling.placement == PlacementKind::kTwoLevel) {
    return MakeError(ErrorCode::kInvalidArgument,
                     "placement is 'two-level', which native threads do not "
                     "have yet; set placement to 'central' or 'stealing'");
  }
  // One queue has its agent, which is the dispatcher.
  if (scheduling.placement == PlacementKind::kCentral) {
    scheduling.dispatcher = DispatcherKind::kShared;
    return scheduling;
  }
  // Any core can be taken by a higher class at any time.
  return ForArbiter(std::move(scheduling), cores);
}

namespace {

Result<void> CheckCoreScheduling(const Kernel& kernel,
                                 const AgentOptions& options) {
  const auto refuse = [](std::string message) {
    return MakeError(ErrorCode::kInvalidArgument, std::move(message));
  };
  if (!options.core_scheduling) return {};
  if (options.scheduling.placement != PlacementKind::kCentral) {
    return refuse(
        fmt::format("core_scheduling is set, but under placement '{}' each "
                    "core has an agent, and none decides for its siblings; set "
                    "placement to 'central', or unset it",
                    ToString(options.scheduling.placement)));
  }
  if (options.siblings.size() != kernel.cores()) {
    return refuse(
        fmt::format("siblings has {} numbers, but core_scheduling needs one "
                    "for each of the {} cores, the same for siblings",
                    options.siblings.size(), kernel.cores()));
  }
  if (!options.trust) {
    return refuse(
        "trust is not set, but core_scheduling needs each thread's trust "
        "domain; set it, for example to the thread's process");
  }
  if (const std::string_view why = kernel.WhyNoCoreScheduling(); !why.empty()) {
    return MakeError(ErrorCode::kUnsupported,
                     fmt::format("core_scheduling is set, but {}", why));
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<Agents>> Agents::Create(Kernel& kernel,
                                               const AgentOptions& options,
                                               Instant now) {
  if (options.queue_capacity < 1 || options.queue_capacity > kMostMessages) {
    return MakeError(ErrorCode::kInvalidArgument,
                     fmt::format("queue_capacity is {}; it must be 1 .. {}",
                                 options.queue_capacity, kMostMessages));
  }
  if (options.own_core && kernel.cores() < 2) {
    return MakeError(ErrorCode::kInvalidArgument,
                     "own_core is set, but the enclave has one core, and no "
                     "thread could run; unset it, or give it two cores");
  }
  AgentOptions own = options;
  Result<Scheduling> scheduling = ForNative(options.scheduling, kernel.cores());
  if (!scheduling) return tl::unexpected(scheduling.error());
  if (Result<void> valid = Validate(*scheduling, kernel.cores()); !valid)
    return tl::unexpected(valid.error());
  own.scheduling = *std::move(scheduling);
  if (auto can = CheckCoreScheduling(kernel, own); !can)
    return tl::unexpected(can.error());
  if (own.scheduling.placement == PlacementKind::kStealing &&
      options.own_core) {
    return MakeError(ErrorCode::kInvalidArgument,
                     "own_core is set, but under placement 'stealing' every "
                     "core has an agent, and no thread could run; unset it, or "
                     "set placement to 'central'");
  }
  if (own.scheduling.placement == PlacementKind::kStealing)
    return MakeCpuAgents(kernel, own, now);
  return MakeGlobalAgent(kernel, own, now);
}

}  // namespace yamanote::native
