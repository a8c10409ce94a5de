// gaps.h - notices when the generator's own thread did not run.
//
// The thread polls, so two looks at the clock are a few microseconds apart unless
// the kernel or the hypervisor took the core in between. Such a gap delays sends
// and answers alike: samples that overlap one say less about the server.
//
// Some machines hum: each core is away for some 40 us about every millisecond.
// Tagging that would tag every sample of a millisecond and leave only the fast
// ones, so the threshold has to be above it.

#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "yamanote/time.h"

namespace yamanote::load {

struct Gap {
  int64_t start_ns = 0;
  int64_t end_ns = 0;
};

class GapLog {
 public:
  // 4 MiB; then the last one grows.
  static constexpr size_t kMaxGaps = 1 << 18;

  explicit GapLog(int64_t threshold_ns) : threshold_ns_(threshold_ns) {
    gaps_.reserve(4096);
  }

  // Call at every look at the clock.
  void Tick(int64_t now_ns) {
    if (last_ns_ >= 0 && now_ns - last_ns_ > threshold_ns_)
      Add(last_ns_, now_ns);
    last_ns_ = now_ns;
  }

  // Forgets the time since the last Tick(): the thread waited on purpose.
  void Pause() { last_ns_ = -1; }

  // In order, disjoint.
  const std::vector<Gap>& gaps() const { return gaps_; }

  // Whether a gap overlaps [from, to].
  bool Overlaps(int64_t from_ns, int64_t to_ns) const {
    const auto first =
        std::partition_point(gaps_.begin(), gaps_.end(),
                             [&](const Gap& g) { return g.end_ns <= from_ns; });
    return first != gaps_.end() && first->start_ns < to_ns;
  }

 private:
  void Add(int64_t start_ns, int64_t end_ns) {
    if (gaps_.size() < kMaxGaps) {
      gaps_.push_back({start_ns, end_ns});
    } else {
      gaps_.back().end_ns = end_ns;
    }
  }

  int64_t threshold_ns_;
  int64_t last_ns_ = -1;
  std::vector<Gap> gaps_;
};

inline constexpr Duration kLeastGapThreshold = std::chrono::microseconds(20);
inline constexpr Duration kMostGapThreshold = std::chrono::milliseconds(1);

// Of the gaps that a thread which only polled saw during `watched`, the least
// threshold, in tens of microseconds, that at most 50 a second exceed; but never
// outside kLeastGapThreshold .. kMostGapThreshold.
Duration ThresholdAbove(std::vector<Gap> gaps, Duration watched);

// Polls on `cpu` (-1: anywhere) for a fifth of a second and returns that.
Duration MeasureGapThreshold(int cpu);

}  // namespace yamanote::load
