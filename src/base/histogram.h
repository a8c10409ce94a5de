// histogram.h - counts values with a bounded relative error; merges exactly.
//
// Log-linear: each power of two is cut into 128 equal buckets and a value is
// reported as the middle of its bucket, so a reported figure is within 0.4% of
// the recorded one. Below 128 every value has a bucket of its own. Values are
// unsigned numbers of any unit, up to kLimit (18 minutes in nanoseconds); larger
// ones count in the last bucket, Max() stays exact.
//
// What never got an answer is recorded as infinite: it takes its place in the
// quantiles as +infinity, so that a system can't improve its tail by dropping.
//
// One writer at a time; 35 KB each.

#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace yamanote::base {

class Histogram {
 public:
  static constexpr unsigned kPrecisionBits = 7;
  static constexpr unsigned kMaxBits = 40;
  static constexpr uint64_t kLimit = (uint64_t{1} << kMaxBits) - 1;

  Histogram();

  // Counts `value` `times` times. Here, to be inlined: a simulator spends much of its
  // time in it.
  void Record(uint64_t value, uint64_t times = 1) {
    if (times == 0) return;
    buckets_[IndexOf(std::min(value, kLimit))] += times;
    finite_ += times;
    min_ = std::min(min_, value);
    max_ = std::max(max_, value);
    sum_ += static_cast<double>(value) * static_cast<double>(times);
  }

  // As Record() of each, in less time: what comes of one is not waited for by the next.
  void Record(std::span<const uint64_t> values) {
    uint64_t least = min_;
    uint64_t most = max_;
    double sum = sum_;
    for (const uint64_t value : values) {
      ++buckets_[IndexOf(std::min(value, kLimit))];
      least = std::min(least, value);
      most = std::max(most, value);
      sum += static_cast<double>(value);
    }
    finite_ += values.size();
    min_ = least;
    max_ = most;
    sum_ = sum;
  }

  // Counts `times` observations that never ended.
  void RecordInfinite(uint64_t times = 1) { infinite_ += times; }

  // Adds all that `other` counted, as if it had been recorded here.
  void Merge(const Histogram& other);

  // Returns the smallest reported value that at least the share `q` (0..1) of
  // all observations do not exceed; +infinity where the infinite ones begin;
  // NaN if nothing was recorded.
  double Quantile(double q) const;

  // Mean of the finite observations; NaN if there is none.
  double Mean() const;

  // Largest finite observation, exact; 0 if there is none.
  uint64_t Max() const { return max_; }
  uint64_t Min() const { return finite_ == 0 ? 0 : min_; }

  uint64_t finite() const { return finite_; }
  uint64_t infinite() const { return infinite_; }
  uint64_t count() const { return finite_ + infinite_; }

 private:
  static size_t IndexOf(uint64_t value) {
    constexpr uint64_t kLinear = uint64_t{1} << kPrecisionBits;
    if (value < kLinear) return static_cast<size_t>(value);
    const auto shift =
        static_cast<unsigned>(std::bit_width(value)) - 1 - kPrecisionBits;
    // The top bit of (value >> shift) selects the octave's second half.
    return static_cast<size_t>(shift) * kLinear + (value >> shift);
  }
  static double MiddleOf(size_t index);

  std::vector<uint64_t> buckets_;
  uint64_t finite_ = 0;
  uint64_t infinite_ = 0;
  uint64_t min_ = UINT64_MAX;
  uint64_t max_ = 0;
  double sum_ = 0;
};

}  // namespace yamanote::base
