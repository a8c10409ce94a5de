// rounds.cc - runs and their order.

#include "tools/demo/rounds.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "tools/demo/screen.h"

namespace yamanote::demo {

Result<void> CheckAlive(ServerProcess& server, double rps) {
  const std::string end = server.Ended();
  if (end.empty()) return {};
  const std::string words = server.Errors();
  return MakeError(
      ErrorCode::kUnavailable,
      fmt::format("{} {} at {}{}{}", server.name(), end, FormatRps(rps),
                  words.empty() ? "" : "\nit wrote: ", words));
}

Result<load::Run> Drive(ServerProcess& server, load::Measurement& measurement,
                        const Interrupts& interrupts, double rps,
                        uint64_t seed) {
  // Called from another thread while it measures: hears Ctrl-C.
  measurement.set_progress([&](uint64_t, uint64_t, double) {
    if (interrupts.pending()) measurement.Stop();
  });
  Result<load::Run> run = measurement.MeasureSeed(rps, seed);
  if (interrupts.pending())
    return MakeError(ErrorCode::kCancelled, "interrupted");
  if (const Result<void> alive = CheckAlive(server, rps); !alive)
    return tl::unexpected(alive.error());
  return run;
}

Rounds::Rounds(std::vector<double> loads, size_t contenders, MeasureRun measure)
    : loads_(std::move(loads)),
      measure_(std::move(measure)),
      curves_(contenders) {
  for (Curve& curve : curves_) {
    for (const double rps : loads_)
      curve.loads.emplace_back(rps, load::Combining::kMedian);
  }
}

// Another one begins each time: what a contender leaves undone keeps the cores
// from the next, and shall not always meet the same.
Result<void> Rounds::Next() {
  const uint64_t round = done_ + 1;
  const size_t count = curves_.size();
  for (size_t load = 0; load < loads_.size(); ++load) {
    for (size_t turn = 0; turn < count; ++turn) {
      const size_t contender = (turn + load + round) % count;
      Curve& curve = curves_[contender];
      if (!curve.failure.empty()) continue;
      const Result<load::Run> run = measure_(contender, loads_[load], round);
      if (run) {
        curve.loads[load].Add(*run);
        continue;
      }
      if (run.error().code == ErrorCode::kCancelled)
        return tl::unexpected(run.error());
      const std::string& message = run.error().message;
      curve.failure = fmt::format("in round {}: {}", round,
                                  message.substr(0, message.find('\n')));
      curve.failed_at = load;
    }
  }
  done_ = round;
  return {};
}

bool Rounds::Failed(size_t contender) const {
  return !curves_[contender].failure.empty();
}

bool Rounds::AllFailed() const {
  return std::ranges::none_of(
      curves_, [](const Curve& curve) { return curve.failure.empty(); });
}

std::vector<load::PointResult> Rounds::Points(size_t contender) const {
  const Curve& curve = curves_[contender];
  std::vector<load::PointResult> points;
  for (size_t load = 0; load < loads_.size(); ++load) {
    const bool failed = !curve.failure.empty() && curve.failed_at == load;
    if (curve.loads[load].runs() == 0 && !failed) continue;
    load::PointResult point{.offered_rps = loads_[load]};
    if (curve.loads[load].runs() > 0) point = curve.loads[load].ToPoint();
    if (failed) {
      point.valid = point.valid_undisturbed = false;
      point.why_invalid = curve.failure;
    }
    points.push_back(std::move(point));
  }
  return points;
}

}  // namespace yamanote::demo
