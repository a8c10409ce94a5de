// oracle.cc - processor sharing and shortest remaining processing time.

#include "sim/oracle.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <queue>
#include <utility>
#include <vector>

#include "base/check.h"

namespace yamanote::sim {
namespace {

// All requests have had the same service since the younger one came, `had_` at the
// clock's time: so they end in the order of what that must be when they do.
class Sharing {
 public:
  Sharing(unsigned cores, Observer& observer)
      : cores_(cores), observer_(observer) {}

  void Arrive(const Arrival& arrival) {
    PassTo(Nanos(arrival.at));
    queue_.push({had_ + Nanos(arrival.service), arrival});
  }

  // Ends all that end before `until`.
  void RunUntil(double until) {
    while (!queue_.empty()) {
      const double ends = now_ + (queue_.top().ends_at - had_) / Rate();
      if (ends > until) return;
      PassTo(ends);
      // Rounding must not leave some of it.
      had_ = queue_.top().ends_at;
      observer_.Finished(queue_.top().arrival,
                         Instant(Duration(std::llround(ends))));
      queue_.pop();
    }
  }

 private:
  struct Job {
    double ends_at;  // `had_` then, ns.
    Arrival arrival;
    bool operator>(const Job& other) const { return ends_at > other.ends_at; }
  };

  template <typename Time>
  static double Nanos(Time time) {
    return static_cast<double>(ToNanos(time));
  }
  double Rate() const {
    return std::min(1.0, cores_ / static_cast<double>(queue_.size()));
  }
  void PassTo(double when) {
    if (!queue_.empty()) had_ += (when - now_) * Rate();
    now_ = when;
    if (queue_.empty()) had_ = 0;  // So that it stays exact.
  }

  const double cores_;
  Observer& observer_;
  std::priority_queue<Job, std::vector<Job>, std::greater<>> queue_;
  double now_ = 0;
  double had_ = 0;
};

class ShortestRemaining {
 public:
  ShortestRemaining(unsigned cores, Observer& observer)
      : cores_(cores), observer_(observer) {}

  void Arrive(const Arrival& arrival) {
    const Instant now = arrival.at;
    if (running_.size() == cores_) {
      const auto last = std::prev(running_.end());
      if (now + arrival.service >= last->first) {
        waiting_.push({arrival.service, arrival});
        return;
      }
      waiting_.push({last->first - now, last->second});
      running_.erase(last);
    }
    running_.emplace(now + arrival.service, arrival);
  }

  void RunUntil(Instant until) {
    while (!running_.empty() && running_.begin()->first <= until) {
      const auto [now, arrival] = *running_.begin();
      running_.erase(running_.begin());
      observer_.Finished(arrival, now);
      if (waiting_.empty()) continue;
      running_.emplace(now + waiting_.top().remaining, waiting_.top().arrival);
      waiting_.pop();
    }
  }

 private:
  struct Job {
    Duration remaining;
    Arrival arrival;
    bool operator>(const Job& other) const {
      return remaining > other.remaining;
    }
  };

  const std::size_t cores_;
  Observer& observer_;
  std::multimap<Instant, Arrival> running_;  // By when they will end.
  std::priority_queue<Job, std::vector<Job>, std::greater<>> waiting_;
};

}  // namespace

std::optional<Oracle> FindOracle(std::string_view name) {
  if (name == ToString(Oracle::kPs)) return Oracle::kPs;
  if (name == ToString(Oracle::kSrpt)) return Oracle::kSrpt;
  return std::nullopt;
}

std::string_view ToString(Oracle oracle) {
  return oracle == Oracle::kPs ? "ps" : "srpt";
}

void RunOracle(Oracle oracle, unsigned cores, Source& source,
               Observer& observer) {
  YAMANOTE_CHECK(cores >= 1, "an oracle needs a core");
  if (oracle == Oracle::kPs) {
    Sharing machine(cores, observer);
    while (const Arrival* const arrival = source.Next()) {
      machine.RunUntil(static_cast<double>(ToNanos(arrival->at)));
      machine.Arrive(*arrival);
    }
    machine.RunUntil(std::numeric_limits<double>::infinity());
    return;
  }
  ShortestRemaining machine(cores, observer);
  while (const Arrival* const arrival = source.Next()) {
    machine.RunUntil(arrival->at);
    machine.Arrive(*arrival);
  }
  machine.RunUntil(kNever);
}

}  // namespace yamanote::sim
