// static.cc - as many cores as the application may have, for ever.
//
// Use it for a service whose tasks take a microsecond (moving cores costs more than it
// saves), and for batch programs, which have work for every core. Not where others could
// use what this one leaves idle.
//
// Source: McClure et al., "Efficient Scheduling Policies for Microsecond-Scale Tasks",
// NSDI 2022 (static allocation often wins for tasks of 1 us).

#include "yamanote/core_policy.h"

namespace yamanote {
namespace {

class Static final : public CorePolicy {
 public:
  Wish Decide(const AppSample&) override { return Wish::kMore; }
};

}  // namespace

extern constexpr CorePolicyInfo kStatic = {
    .name = "static",
    .summary = "all cores that the application may have, for ever",
    .good_at = "tasks of about 1 us; batch programs",
    .bad_at = "sharing: what it leaves idle nobody else gets",
    .source = "McClure et al., Efficient Scheduling Policies, 2022",
    .parks = false,
    .make = [](const CorePolicyOptions&) -> std::unique_ptr<CorePolicy> {
      return std::make_unique<Static>();
    },
};

}  // namespace yamanote
