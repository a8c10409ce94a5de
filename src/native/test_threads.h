// test_threads.h - what the tests' modelled threads do.

#pragma once

#include <utility>
#include <vector>

#include "native/model.h"

namespace yamanote::native {

inline Instant At(Duration time) { return Instant(time); }

// Does `actions` one after another, then exits.
inline Script Does(std::vector<Action> actions) {
  return [actions = std::move(actions), i = std::size_t{0}](Instant) mutable {
    return i < actions.size() ? actions[i++] : Action{};
  };
}
inline Action Runs(Duration time) {
  return {.kind = Action::Kind::kRun, .time = time};
}
inline Action Blocks(Duration time) {
  return {.kind = Action::Kind::kBlock, .time = time};
}

}  // namespace yamanote::native
