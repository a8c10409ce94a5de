// shown.h - what an application shows of one core, read once and made plausible.
//
// The memory may be written while it is read, by somebody who means harm: every word is
// loaded once, and nothing that comes of it is outside its limits. What remains wrong
// misleads that application's own core policy only.

#pragma once

#include "arbiter/abi.h"
#include "yamanote/core_policy.h"
#include "yamanote/time.h"

namespace yamanote::arbiter {

// An older task than this is as urgent as one of this age.
inline constexpr Duration kOldest = std::chrono::seconds(10);

class Shown {
 public:
  // The queue and the worker, `now` (CLOCK_MONOTONIC). `looking` is set as if the core
  // were held; `held` and `fresh` are left alone. Returns false if the worker's words
  // contradict what they said before: then they stay what they were.
  bool Read(const CoreSignals& signals, Duration now, CoreSample& sample);

 private:
  Duration last_{0};  // When it was read.
  int64_t idle_ = 0;  // The word.
  Duration total_{
      0};  // What was made of it: never falls, nor grows faster than time.
};

}  // namespace yamanote::arbiter
