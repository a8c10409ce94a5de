// account.h - turns recorded requests into figures, and judges them.
//
// All judgements are here and see only recorded times, so that tests state them
// in virtual time:
// - The window: requests due from the end of the warm-up to the end of the run.
// - Latency is from the intended send time. Unanswered and refused requests are
//   infinite.
// - A request was late if it was sent later than intended by more than the p99
//   that answered requests had from their actual send. More than 0.1% of late
//   ones: the generator, not the server, shaped the tail; the point is invalid.
// - A server that answers nothing from the last tenth of the window to the end of the
//   drain, although at least ten requests were due meanwhile, fell silent; the point
//   is invalid.
// - A sample is tagged (disturbed) if a gap of its thread overlaps its lifetime.
//   Lost and refused ones are never tagged: no gap may hide a loss.

#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/histogram.h"
#include "tools/load/driver.h"
#include "tools/load/result.h"
#include "tools/load/workload.h"

namespace yamanote::load {

inline constexpr double kMaxLateShare = 0.001;

// Which samples of the run count, in nanoseconds from its start.
struct Window {
  int64_t begin_ns = 0;
  int64_t end_ns = 0;
};

// Latency and slowdown of one set of samples.
struct Tally {
  base::Histogram latency_ns{};
  base::Histogram slowdown_milli{};  // In thousandths.

  void Merge(const Tally& other) {
    latency_ns.Merge(other.latency_ns);
    slowdown_milli.Merge(other.slowdown_milli);
  }
};

struct ClassAccount {
  Tally all{};
  Tally undisturbed{};
  uint64_t sent = 0;
  uint64_t answered = 0;
  uint64_t lost = 0;
  uint64_t refused = 0;

  void Merge(const ClassAccount& other);
};

// The figures of one run, or of several added up.
class Account {
 public:
  // `floors_us` holds each class's unloaded latency; NaN where unknown. A kv
  // request's slowdown is its latency over the floor of its class.
  Account(const Workload& workload, std::vector<double> floors_us);

  // Adds a run's threads. Call once for a run.
  void AddRun(std::span<const ThreadLog> threads, Window window,
              double gap_threshold_us);

  // Adds another account of the same workload.
  void Merge(const Account& other);

  bool interrupted() const { return stopped_; }
  // Nothing was answered, or nothing any more: invalid, but not by the
  // generator's fault.
  bool server_failed() const { return total_.answered == 0 || silent_ns_ > 0; }

  // Figures of what was added, for one seed or for a point.
  RunResult ToRun(uint64_t seed) const;
  PointResult ToPoint(double offered_rps) const;

 private:
  struct Verdict {
    bool valid = true;
    std::string why{};
  };

  void AddSample(const Sample& sample, const GapLog& gaps);
  void CountLate(std::span<const ThreadLog> threads, Window window);
  void NoticeSilence(std::span<const ThreadLog> threads, Window window);
  Verdict Judge(uint64_t late, uint64_t sent) const;
  double BaseNanos(const Sample& sample) const;

  const std::vector<RequestClass> classes_;
  const Application application_;
  const std::vector<double> floors_us_;
  std::vector<ClassAccount> by_class_;
  ClassAccount total_;
  base::Histogram from_send_ns_;  // Answered requests, from the actual send.
  Counters counters_;
  uint64_t due_ = 0;
  uint64_t received_in_window_ = 0;
  double window_s_ = 0;
  uint64_t late_ = 0;
  uint64_t late_undisturbed_ = 0;
  uint64_t undisturbed_ = 0;
  int64_t late_max_ns_ = 0;
  double late_limit_ns_ = 0;
  GapResult gaps_;
  double busy_ = 0;
  bool stopped_ = false;
  int64_t silent_ns_ = 0;  // At the end of a run, if the server fell silent.
  uint64_t silent_due_ = 0;
};

}  // namespace yamanote::load
