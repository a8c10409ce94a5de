// slice_model.cc - two queues, and the choice among slices.

#include "preempt/slice_model.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <numbers>

#include "base/check.h"

namespace yamanote::preempt {
namespace {

constexpr int64_t kFirstBinNs = 128;
constexpr double kLeastServiceNs = 1000;
constexpr double kFullyBusy = 0.98;
// Of a preemption's cost: whoever overtakes is short, and leaves the caches nearly as they
// were; to go on takes 0.04 to 0.3 us (ADR 0025).
constexpr double kHandedOver = 1.0 / 2;
constexpr double kGoesOn = 1.0 / 8;
// A level ends where tasks have had between once and twice what one of it has had.
constexpr double kLevelEnd = std::numbers::sqrt2;
constexpr double kGivenAway = 0.02;  // Of what slices gain.
// Of the work, where there is no time left: what preemptions take is not answered.
constexpr double kMostLost = 0.02;
// Half octaves from 1 ns to 10 s are 67.
constexpr size_t kMostCandidates = 80;

// A queue that can't be served grows as the excess does.
double Overload(double utilisation) {
  const double excess = std::max(utilisation / kFullyBusy, 1.0);
  return excess * excess;
}

double Slowdown(double sojourn, double service) {
  return std::max(sojourn / std::max(service, kLeastServiceNs), 1.0);
}

}  // namespace

size_t ServiceTimes::BinOf(Duration service) {
  const int64_t ns = service.count();
  if (ns < kFirstBinNs) return 0;
  // The octave, and the two bits below the leading one.
  const auto value = static_cast<uint64_t>(ns);
  const int octave = std::bit_width(value) - 1;
  const auto quarter = static_cast<size_t>((value >> (octave - 2)) & 3);
  const auto first = static_cast<size_t>(
      octave - (std::bit_width(static_cast<uint64_t>(kFirstBinNs)) - 1));
  return std::min(first * 4 + quarter, kBins - 1);
}

Duration ServiceTimes::MiddleOf(size_t bin) {
  const auto quarter = static_cast<int64_t>(bin % 4);
  const int64_t octave = kFirstBinNs << (bin / 4);
  return Duration(octave + (octave / 4) * quarter + octave / 8);
}

Duration ServiceTimes::EndOf(size_t bin) {
  const auto quarter = static_cast<int64_t>(bin % 4);
  const int64_t octave = kFirstBinNs << (bin / 4);
  return Duration(octave + (octave / 4) * (quarter + 1));
}

Prediction InTurn(const ServiceTimes& services, Usage usage, Duration slice,
                  Duration cost) {
  const double q = Nanos(slice);
  // A preemption happens only if something waits.
  const double c = std::min(usage.tasks + usage.beside, 1.0) * Nanos(cost);
  double tasks = 0;
  double work = 0;  // Without preemptions.
  double cuts = 0;
  double turns_sq = 0;    // Sum of the squares of all turns.
  double last_turns = 0;  // Sum of each task's last one.
  for (size_t bin = 0; bin < ServiceTimes::kBins; ++bin) {
    const double count = services.counts[bin];
    if (count == 0) continue;
    const double s = Nanos(ServiceTimes::EndOf(bin));
    const double more = std::ceil(s / q) - 1;  // Turns beside the last.
    const double last = s - more * q;
    tasks += count;
    work += count * s;
    cuts += count * more;
    turns_sq += count * (more * (q + c) * (q + c) + last * last);
    last_turns += count * last;
  }
  if (tasks == 0 || usage.tasks <= 0) return {};
  const double wanted = usage.tasks * (work + cuts * c) / work + usage.beside;
  const double utilisation = std::min(wanted, kFullyBusy);
  const double rate =
      usage.tasks / work;  // Per task of these, so times its count.
  // What is done beside a task, in its last turn.
  const double beside = usage.beside / (rate * tasks);
  turns_sq += beside * (2 * last_turns + tasks * beside);
  const double wait =
      Overload(wanted) * rate * turns_sq / (2 * (1 - utilisation));
  double sum = 0;
  for (size_t bin = 0; bin < ServiceTimes::kBins; ++bin) {
    const double s = Nanos(ServiceTimes::EndOf(bin));
    const double more = std::ceil(s / q) - 1;
    const double sojourn = s + beside + wait + more * (2 * wait + c);
    sum += services.counts[bin] * Slowdown(sojourn, s);
  }
  return {.slowdown = sum / tasks, .lost = cuts * Nanos(cost) / work};
}

namespace {

// What ShortFirst() is about, and what a task takes up to `s` with all that is done for it.
struct Load {
  const ServiceTimes& services;
  double tasks = 0;
  double beside = 0;
  double slice = 0;
  double first = 0;  // What the first preemption costs, and each later one.
  double later = 0;

  double Preempted(double s) const {
    const double cuts = std::ceil(s / slice) - 1;
    return cuts < 1 ? 0 : first + (cuts - 1) * later;
  }
  double Time(double s) const { return s + beside + Preempted(s); }
};

// All tasks up to some service, as sums of their times and of the squares of those.
class Level {
 public:
  explicit Level(const Load& load) : load_(load) {}

  // Up to `until`, no less than the call before.
  void Extend(double until) {
    for (; next_ < ServiceTimes::kBins; ++next_) {
      const double s = Nanos(ServiceTimes::EndOf(next_));
      if (s > until) break;
      const double count = load_.services.counts[next_];
      if (count == 0) continue;
      const double time = load_.Time(s);
      over_ += count;
      times_ += count * time;
      squares_ += count * time * time;
    }
    const double time = load_.Time(until);
    rest_ = std::max(load_.tasks - over_, 0.0) * time;
    rest_squares_ = rest_ * time;
  }
  double times() const { return times_ + rest_; }
  double squares() const { return squares_ + rest_squares_; }

 private:
  const Load& load_;
  size_t next_ = 0;   // The first bin beyond.
  double over_ = 0;   // Tasks that are over by then.
  double times_ = 0;  // Theirs.
  double squares_ = 0;
  double rest_ = 0;  // The others'.
  double rest_squares_ = 0;
};

}  // namespace

Prediction ShortFirst(const ServiceTimes& services, Usage usage, Duration slice,
                      Duration cost) {
  Load load{.services = services, .slice = Nanos(slice)};
  double work = 0;
  for (size_t bin = 0; bin < ServiceTimes::kBins; ++bin) {
    load.tasks += services.counts[bin];
    work += services.counts[bin] * Nanos(ServiceTimes::EndOf(bin));
  }
  if (load.tasks == 0 || usage.tasks <= 0) return {};
  const double rate = usage.tasks / work;
  load.beside = usage.beside / (rate * load.tasks);
  // The first time others go first, who have had less; later, those that came in its slice.
  const double comes = 1 - std::exp(-rate * load.tasks * load.slice);
  load.first =
      std::min(usage.tasks + usage.beside, 1.0) * kHandedOver * Nanos(cost);
  load.later = (comes * kHandedOver + (1 - comes) * kGoesOn) * Nanos(cost);

  double lost = 0;
  double times = 0;
  for (size_t bin = 0; bin < ServiceTimes::kBins; ++bin) {
    if (services.counts[bin] == 0) continue;
    const double s = Nanos(ServiceTimes::EndOf(bin));
    lost += services.counts[bin] * load.Preempted(s);
    times += services.counts[bin] * load.Time(s);
  }
  const double busy = std::min(rate * times, 1.0);
  Level level(load);
  Level above(load);
  double sum = 0;
  for (size_t bin = 0; bin < ServiceTimes::kBins; ++bin) {
    if (services.counts[bin] == 0) continue;
    const double s = Nanos(ServiceTimes::EndOf(bin));
    const bool cut = s > load.slice;
    level.Extend(cut ? s * kLevelEnd : load.slice);
    const double here = rate * level.times();
    // Whoever is beyond the level ends its slice first.
    const double beyond = std::max(busy - here, 0.0) * load.slice;
    const double wait = Overload(here) * (rate * level.squares() + beyond) / 2 /
                        (1 - std::min(here, kFullyBusy));
    double before = 0;
    if (cut) {
      above.Extend(std::max(s * kLevelEnd / 2, load.slice));
      before = rate * above.times();
    }
    const double sojourn =
        (wait + load.Time(s)) / (1 - std::min(before, kFullyBusy));
    sum += services.counts[bin] * std::log(Slowdown(sojourn, s));
  }
  return {.slowdown = std::exp(sum / load.tasks), .lost = lost / work};
}

Duration BestSlice(const ServiceTimes& services, Usage usage, Duration cost,
                   std::span<const Duration> candidates, SliceModel& model) {
  // No memory is allocated: the kernel's tick comes here from a signal's handler.
  YAMANOTE_CHECK(candidates.size() <= kMostCandidates, "too many candidates");
  std::array<double, kMostCandidates> slowdowns;
  double best = std::numeric_limits<double>::infinity();
  const bool full = usage.tasks + usage.beside >= kFullyBusy;
  for (size_t i = 0; i < candidates.size(); ++i) {
    const Prediction given = model(services, usage, candidates[i], cost);
    const bool allowed =
        !full || i + 1 == candidates.size() || given.lost <= kMostLost;
    slowdowns[i] =
        allowed ? given.slowdown : std::numeric_limits<double>::infinity();
    best = std::min(best, slowdowns[i]);
  }
  size_t chosen = candidates.size() - 1;
  const double enough = best + kGivenAway * (slowdowns[chosen] - best);
  while (slowdowns[chosen] > enough) --chosen;
  // Exactly the same: neither cuts a task.
  while (chosen > 0 && slowdowns[chosen - 1] == slowdowns[chosen]) --chosen;
  return candidates[chosen];
}

}  // namespace yamanote::preempt
