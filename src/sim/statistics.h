// statistics.h - latency and slowdown of simulated requests, with confidence intervals.
//
// The run after the warm-up is cut into batches of equally many requests. A quantile is
// that of all of them; its interval comes from how far apart the batches' own quantiles
// are: successive requests resemble each other, batches hardly do. Runs of other seeds
// add batches.
//
// Source: Law, Simulation Modeling and Analysis, 5th edition 2015, section 9.5.3 (batch
// means); intervals hold 95% if batches are long against the time in which the queue
// forgets, which heavy loads make long.

#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "base/histogram.h"
#include "sim/source.h"

namespace yamanote::sim {

// A figure, and the limits of its 95% confidence interval. NaN: not known. +infinity
// where refused requests reach.
struct Estimate {
  double value = std::numeric_limits<double>::quiet_NaN();
  double low = std::numeric_limits<double>::quiet_NaN();
  double high = std::numeric_limits<double>::quiet_NaN();
};

struct Figures {
  uint64_t samples = 0;
  Estimate mean{};  // Of those answered.
  Estimate p50{};
  Estimate p90{};
  Estimate p99{};
  Estimate p999{};
  double max = std::numeric_limits<double>::quiet_NaN();
};

struct StatisticsOptions {
  uint64_t requests = 0;  // Of the run, refused ones included. > warmup.
  uint64_t warmup = 0;    // The first so many do not count.
  unsigned batches = 20;  // >= 1
  unsigned classes = 1;   // A class beyond counts as the last.
};

class Statistics final : public Observer {
 public:
  explicit Statistics(const StatisticsOptions& options);

  void Finished(const Arrival& arrival, Instant now) override;
  void Refused(const Arrival& arrival) override;

  // After the run: ends the last batch. Then the following may be called.
  void Close();
  // Adds the batches of `other`, a run of the same options with another seed.
  void Merge(const Statistics& other);

  // Of one class, or of all: kAll. Latency in us.
  static constexpr unsigned kAll = UINT32_MAX;
  Figures Latency(unsigned request_class) const;
  Figures Slowdown(unsigned request_class) const;
  uint64_t refused() const { return refused_; }

  // Of the run, the warm-up included: what was answered, the last time, what it took.
  uint64_t answered() const { return answered_; }
  Instant last() const { return last_; }
  Duration service() const { return service_; }

 private:
  // Slowdowns are counted in thousandths.
  static constexpr double kSlowdownUnit = 1000;
  static constexpr double kLatencyUnit = 1000;
  static constexpr std::array<double, 4> kQuantiles = {0.5, 0.9, 0.99, 0.999};

  // Of one batch: its mean, then its quantiles.
  struct Batch {
    std::array<double, 1 + kQuantiles.size()> figures{};
    uint64_t count = 0;
  };

  struct Quantity {
    base::Histogram batch;  // The one that is not over.
    base::Histogram whole;
    std::vector<Batch> batches;

    void EndBatch();
    void Merge(const Quantity& other);
    Figures Read(double unit) const;
  };
  struct Group {
    Quantity latency;
    Quantity slowdown;
    // Finished and not in the batch yet: of so many at a time none waits for the counters of
    // the one before it.
    static constexpr std::size_t kAtATime = 64;
    std::array<uint64_t, kAtATime> sojourns{};
    std::array<uint64_t, kAtATime> services{};
    std::size_t taken = 0;

    void Take(Duration sojourn, Duration service) {
      const std::size_t i = taken++;
      sojourns[i] = static_cast<uint64_t>(sojourn.count());
      services[i] = static_cast<uint64_t>(service.count());
      if (i + 1 == kAtATime) Record();
    }
    void Record();
  };

  Group& Of(ClassId request_class) {
    return groups_[std::min<std::size_t>(request_class, last_class_)];
  }
  // True: it counts.
  bool Count() {
    if (++seen_ <= warmup_) return false;
    if (in_batch_ == per_batch_) EndBatch();
    ++in_batch_;
    return true;
  }
  void EndBatch();
  void RecordTaken();

  const uint64_t warmup_;
  const uint64_t per_batch_;
  const std::size_t last_class_;
  std::vector<Group> groups_;  // By class; the last is of all.
  uint64_t seen_ = 0;
  uint64_t in_batch_ = 0;
  uint64_t refused_ = 0;
  uint64_t answered_ = 0;
  Instant last_{};
  Duration service_{0};
};

// The limits of the 95% confidence interval of a mean of normally distributed values lie
// so many standard errors from it. degrees >= 1.
//
// Source: Hill, "Algorithm 396: Student's t-quantiles", CACM 13(10), 1970.
double StudentT95(unsigned degrees);

}  // namespace yamanote::sim
