// subject.h - the dedicated dispatcher as it is, instrumented, its lines named.

#pragma once

#include <memory>

#include "bench/dispatch/machine.h"
#include "dispatch/placement.h"

namespace bench {

// A dispatcher on core 0 and `cores` - 1 workers with `slots` slots each; first
// come, first served. Its lines have the names `inbox`, `domain`, `entry`,
// `completed`, `sent` and `taken` in `machine`.
std::unique_ptr<yamanote::dispatch::Placement> MakeSubject(unsigned slots,
                                                           unsigned cores,
                                                           Machine& machine);

}  // namespace bench
