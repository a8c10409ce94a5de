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

double Nanos(Duration duration) {
  return static_cast<double>(duration.count());
}

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
  if (tasks == 0) return {};
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

// Of all tasks, as sums: how many are over by some service, how long those took, and the
// squares of it.
struct Sums {
  double tasks = 0;
  double times = 0;
  double squares = 0;

  void Add(double count, double time) {
    tasks += count;
    times += count * time;
    squares += count * time * time;
  }
};

// The first bin of tasks that are longer than `service` ns.
size_t FirstLonger(double service) {
  constexpr size_t kLast = ServiceTimes::kBins - 1;
  if (service >= Nanos(ServiceTimes::EndOf(kLast))) return kLast + 1;
  return ServiceTimes::BinOf(Duration(static_cast<int64_t>(service)));
}

}  // namespace

Prediction ShortFirst(const ServiceTimes& services, Usage usage, Duration slice,
                      Duration cost) {
  const double q = Nanos(slice);
  double tasks = 0;
  double work = 0;
  for (size_t bin = 0; bin < ServiceTimes::kBins; ++bin) {
    tasks += services.counts[bin];
    work += services.counts[bin] * Nanos(ServiceTimes::EndOf(bin));
  }
  if (tasks == 0) return {};
  const double rate = usage.tasks / work;
  const double beside = usage.beside / (rate * tasks);
  // The first time others go first, who have had less; later, those that came in its slice.
  const double comes = 1 - std::exp(-rate * tasks * q);
  const double first =
      std::min(usage.tasks + usage.beside, 1.0) * kHandedOver * Nanos(cost);
  const double later =
      (comes * kHandedOver + (1 - comes) * kGoesOn) * Nanos(cost);
  // What a task takes up to `s` with all that is done for it.
  const auto preempted = [=](double s) {
    const double cuts = std::ceil(s / q) - 1;
    return cuts < 1 ? 0 : first + (cuts - 1) * later;
  };
  const auto time = [=](double s) { return s + beside + preempted(s); };

  std::array<Sums, ServiceTimes::kBins + 1>
      over;  // By the bin before which they end.
  double lost = 0;
  for (size_t bin = 0; bin < ServiceTimes::kBins; ++bin) {
    const double s = Nanos(ServiceTimes::EndOf(bin));
    over[bin + 1] = over[bin];
    over[bin + 1].Add(services.counts[bin], time(s));
    lost += services.counts[bin] * preempted(s);
  }
  // As if every task were over by `service`.
  const auto until = [&](double service) {
    Sums sums = over[FirstLonger(service)];
    sums.Add(tasks - sums.tasks, time(service));
    return sums;
  };
  const double busy = rate * over[ServiceTimes::kBins].times;
  double sum = 0;
  for (size_t bin = 0; bin < ServiceTimes::kBins; ++bin) {
    if (services.counts[bin] == 0) continue;
    const double s = Nanos(ServiceTimes::EndOf(bin));
    const bool cut = s > q;
    const Sums level = until(cut ? s * kLevelEnd : q);
    const double here = rate * level.times;
    // Whoever is beyond the level ends its slice first.
    const double wait =
        Overload(here) *
        (rate * level.squares + std::max(busy - here, 0.0) * q) / 2 /
        (1 - std::min(here, kFullyBusy));
    const double before =
        cut ? rate * until(std::max(s * kLevelEnd / 2, q)).times : 0;
    sum += services.counts[bin] *
           std::log(Slowdown(
               (wait + time(s)) / (1 - std::min(before, kFullyBusy)), s));
  }
  return {.slowdown = std::exp(sum / tasks), .lost = lost / work};
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
