// rounds.h - who is measured when, and what becomes of one that fails.
//
// In each round every contender is driven at every load, in turn. One that fails
// is not driven again; its points up to then stay, and the one at which it failed
// is not valid, for that reason. Not thread-safe.

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "tools/demo/server_process.h"
#include "tools/load/measure.h"
#include "yamanote/result.h"

namespace yamanote::demo {

// kUnavailable, with its words, if `server` has ended; `rps` is what it met last.
Result<void> CheckAlive(ServerProcess& server, double rps);

// Drives `server` once, as `measurement` says. kCancelled if interrupted meanwhile;
// kUnavailable as CheckAlive(), which explains more than what the generator saw.
Result<load::Run> Drive(ServerProcess& server, load::Measurement& measurement,
                        const Interrupts& interrupts, double rps,
                        uint64_t seed);

// One short run of a contender, by its index, at a load. kCancelled ends the round;
// any other error is the contender's end, the first line of its message the reason.
using MeasureRun = std::function<Result<load::Run>(size_t contender, double rps,
                                                   uint64_t round)>;

class Rounds {
 public:
  Rounds(std::vector<double> loads, size_t contenders, MeasureRun measure);

  // Measures the next round. kCancelled if interrupted: the round does not count.
  Result<void> Next();

  uint64_t done() const { return done_; }
  bool Failed(size_t contender) const;
  bool AllFailed() const;

  // The medians of `contender`, one point for each load at which it ran or failed.
  std::vector<load::PointResult> Points(size_t contender) const;

 private:
  struct Curve {
    std::vector<load::Combination> loads{};
    std::string failure{};  // "" while it goes on.
    size_t failed_at = 0;   // Index of a load, if it failed.
  };

  const std::vector<double> loads_;
  const MeasureRun measure_;
  std::vector<Curve> curves_;  // One for each contender.
  uint64_t done_ = 0;
};

}  // namespace yamanote::demo
