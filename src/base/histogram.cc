// histogram.cc - log-linear buckets and the quantiles read from them.

#include "base/histogram.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"

namespace yamanote::base {

Histogram::Histogram() : buckets_(IndexOf(kLimit) + 1, 0) {}

void Histogram::Merge(const Histogram& other) {
  for (size_t i = 0; i < buckets_.size(); ++i) buckets_[i] += other.buckets_[i];
  finite_ += other.finite_;
  infinite_ += other.infinite_;
  min_ = std::min(min_, other.min_);
  max_ = std::max(max_, other.max_);
  sum_ += other.sum_;
}

double Histogram::MiddleOf(size_t index) {
  constexpr size_t kLinear = size_t{1} << kPrecisionBits;
  if (index < 2 * kLinear) return static_cast<double>(index);
  const size_t shift = index / kLinear - 1;
  const uint64_t low = static_cast<uint64_t>(index - shift * kLinear) << shift;
  const uint64_t width = uint64_t{1} << shift;
  return static_cast<double>(low) + static_cast<double>(width - 1) / 2;
}

double Histogram::Quantile(double q) const {
  YAMANOTE_CHECK(q >= 0 && q <= 1, "a quantile is a share from 0 to 1");
  const uint64_t total = count();
  if (total == 0) return std::numeric_limits<double>::quiet_NaN();
  // The tolerance keeps q = 0.99 of 100 at rank 99 although 0.99 * 100 > 99.
  const double wanted = std::ceil(q * static_cast<double>(total) - 1e-9);
  const auto rank =
      std::clamp<uint64_t>(static_cast<uint64_t>(wanted), 1, total);
  if (rank > finite_) return std::numeric_limits<double>::infinity();
  uint64_t seen = 0;
  for (size_t i = 0; i < buckets_.size(); ++i) {
    seen += buckets_[i];
    if (seen >= rank) {
      // The extremes are known exactly; no bucket's middle may pass them.
      return std::clamp(MiddleOf(i), static_cast<double>(min_),
                        static_cast<double>(max_));
    }
  }
  return static_cast<double>(max_);
}

double Histogram::Mean() const {
  if (finite_ == 0) return std::numeric_limits<double>::quiet_NaN();
  return sum_ / static_cast<double>(finite_);
}

}  // namespace yamanote::base
