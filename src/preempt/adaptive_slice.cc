// adaptive_slice.cc - the model, and one step of the rule.

#include "preempt/adaptive_slice.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "base/check.h"

namespace yamanote::preempt {
namespace {

constexpr int64_t kFirstBinNs = 128;
constexpr double kLeastServiceNs = 1000;
constexpr double kFullyBusy = 0.98;
constexpr double kGivenAway = 0.02;  // Of what slices gain.
// Of the work, where there is no time left: what preemptions take is not answered.
constexpr double kMostLost = 0.02;
// Half octaves from 1 ns to 10 s are 67.
constexpr size_t kMostCandidates = 80;

double Nanos(Duration duration) {
  return static_cast<double>(duration.count());
}

// What preemptions of `cost` add to the work, as a share of it, if something always
// waits.
double Lost(const ServiceTimes& services, Duration slice, Duration cost) {
  double work = 0;
  double extra = 0;
  for (size_t bin = 0; bin < ServiceTimes::kBins; ++bin) {
    const double s = Nanos(ServiceTimes::EndOf(bin));
    work += services.counts[bin] * s;
    extra += services.counts[bin] * (std::ceil(s / Nanos(slice)) - 1);
  }
  return work == 0 ? 0 : extra * Nanos(cost) / work;
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

double MeanSlowdown(const ServiceTimes& services, Usage usage, Duration slice,
                    Duration cost) {
  const double q = Nanos(slice);
  // A preemption happens only if something waits.
  const double c = std::min(usage.tasks + usage.beside, 1.0) * Nanos(cost);
  double tasks = 0;
  double work = 0;        // Without preemptions.
  double extra = 0;       // What they add.
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
    extra += count * more * c;
    turns_sq += count * (more * (q + c) * (q + c) + last * last);
    last_turns += count * last;
  }
  if (tasks == 0) return 1;
  const double wanted = usage.tasks * (work + extra) / work + usage.beside;
  const double utilisation = std::min(wanted, kFullyBusy);
  // Beyond what the cores can do the queue grows as the excess does.
  const double overload = std::max(wanted / kFullyBusy, 1.0);
  const double rate =
      usage.tasks / work;  // Per task of these, so times its count.
  // What is done beside a task, in its last turn.
  const double beside = usage.beside / (rate * tasks);
  turns_sq += beside * (2 * last_turns + tasks * beside);
  const double wait =
      overload * overload * rate * turns_sq / (2 * (1 - utilisation));
  double sum = 0;
  for (size_t bin = 0; bin < ServiceTimes::kBins; ++bin) {
    const double count = services.counts[bin];
    if (count == 0) continue;
    const double s = Nanos(ServiceTimes::EndOf(bin));
    const double more = std::ceil(s / q) - 1;
    const double sojourn = s + beside + wait + more * (2 * wait + c);
    sum += count * std::max(sojourn / std::max(s, kLeastServiceNs), 1.0);
  }
  return sum / tasks;
}

Duration BestSlice(const ServiceTimes& services, Usage usage, Duration cost,
                   std::span<const Duration> candidates) {
  // No memory is allocated: the kernel's tick comes here from a signal's handler.
  YAMANOTE_CHECK(candidates.size() <= kMostCandidates, "too many candidates");
  std::array<double, kMostCandidates> slowdowns;
  double best = std::numeric_limits<double>::infinity();
  const bool full = usage.tasks + usage.beside >= kFullyBusy;
  for (size_t i = 0; i < candidates.size(); ++i) {
    const bool allowed = !full || i + 1 == candidates.size() ||
                         Lost(services, candidates[i], cost) <= kMostLost;
    slowdowns[i] = allowed ? MeanSlowdown(services, usage, candidates[i], cost)
                           : std::numeric_limits<double>::infinity();
    best = std::min(best, slowdowns[i]);
  }
  size_t chosen = candidates.size() - 1;
  const double enough = best + kGivenAway * (slowdowns[chosen] - best);
  while (slowdowns[chosen] > enough) --chosen;
  // Exactly the same: neither cuts a task.
  while (chosen > 0 && slowdowns[chosen - 1] == slowdowns[chosen]) --chosen;
  return candidates[chosen];
}

AdaptiveSlice::AdaptiveSlice(Duration least, Duration most, unsigned cores)
    : count_(cores), cores_(new Core[cores]), seen_(cores) {
  for (double slice = Nanos(least); slice < 0.9 * Nanos(most);
       slice *= std::sqrt(2.0))
    candidates_.emplace_back(static_cast<int64_t>(slice));
  candidates_.push_back(most);
  index_ = candidates_.size() / 2;
  current_.store(candidates_[index_].count(), std::memory_order_relaxed);
}

void AdaptiveSlice::BeginIdle(CoreId core, Instant since) {
  std::atomic<int64_t>& idle = cores_[core].idle;
  const int64_t total = idle.load(std::memory_order_relaxed);
  if (total < 0) return;
  idle.store(~(since.time_since_epoch().count() - total),
             std::memory_order_relaxed);
}

void AdaptiveSlice::EndIdle(CoreId core, Instant until) {
  Core& one = cores_[core];
  one.idle.store(IdleUntil(one, until).count(), std::memory_order_relaxed);
}

Duration AdaptiveSlice::IdleUntil(const Core& core, Instant now) {
  const int64_t idle = core.idle.load(std::memory_order_relaxed);
  if (idle >= 0) return Duration(idle);
  return std::max(now.time_since_epoch() - Duration(~idle), Duration(0));
}

void AdaptiveSlice::AdaptNow(Instant now) {
  const Duration elapsed = now - last_;
  const bool first = last_ == Instant{};
  last_ = now;
  next_ = now + kInterval;

  for (double& count : services_.counts) count *= kKept;
  tasks_ns_ *= kKept;
  idle_ns_ *= kKept;
  elapsed_ns_ *= kKept;
  for (CoreId core = 0; core < count_; ++core) {
    Seen& seen = seen_[core];
    for (size_t bin = 0; bin < ServiceTimes::kBins; ++bin) {
      const uint32_t count =
          cores_[core].counts[bin].load(std::memory_order_relaxed);
      const uint32_t fresh = count - seen.counts[bin];  // Wraps as it does.
      seen.counts[bin] = count;
      services_.counts[bin] += fresh;
      tasks_ns_ += fresh * Nanos(ServiceTimes::MiddleOf(bin));
    }
    const Duration idle = IdleUntil(cores_[core], now);
    idle_ns_ += Nanos(idle - seen.idle);
    seen.idle = idle;
  }
  if (first) {  // Since when, nobody knows.
    tasks_ns_ = 0;
    idle_ns_ = 0;
    return;
  }
  elapsed_ns_ += Nanos(elapsed) * count_;
  double tasks = 0;
  for (const double count : services_.counts) tasks += count;
  if (tasks < kFewestTasks) return;

  Usage usage{.tasks = std::min(tasks_ns_ / elapsed_ns_, 1.0)};
  usage.beside = std::max(1 - idle_ns_ / elapsed_ns_ - usage.tasks, 0.0);
  const Duration best = BestSlice(services_, usage, kCost, candidates_);
  // One step at a time: an interval may be an odd one.
  if (best > candidates_[index_]) {
    ++index_;
  } else if (best < candidates_[index_]) {
    --index_;
  }
  current_.store(candidates_[index_].count(), std::memory_order_relaxed);
}

}  // namespace yamanote::preempt
