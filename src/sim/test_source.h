// test_source.h - requests for tests: listed by hand, or drawn.

#pragma once

#include <functional>
#include <map>
#include <span>
#include <utility>
#include <vector>

#include "base/random.h"
#include "sim/source.h"

namespace yamanote::sim {

inline Arrival At(Duration at, Duration service) {
  return {.at = Instant(at), .service = service};
}

// Those that the test lists, in order.
class ListedSource final : public Source {
 public:
  explicit ListedSource(std::vector<Arrival> arrivals)
      : arrivals_(std::move(arrivals)) {}
  std::span<const Arrival> NextFew() override {
    return std::exchange(left_, std::span<const Arrival>());
  }

 private:
  const std::vector<Arrival> arrivals_;
  std::span<const Arrival> left_ = arrivals_;
};

// `count` requests at Poisson times, `rate` per ns; `draw` gives service and class.
class PoissonSource final : public Source {
 public:
  using Draw = std::function<void(base::Random&, Arrival&)>;
  PoissonSource(double rate, uint64_t count, uint64_t seed, Draw draw)
      : gap_(1 / rate), left_(count), random_(seed), draw_(std::move(draw)) {}
  std::span<const Arrival> NextFew() override {
    if (left_ == 0) return {};
    --left_;
    at_ += random_.Exponential(gap_);
    arrival_ = {.at = Instant(Duration(static_cast<int64_t>(at_)))};
    draw_(random_, arrival_);
    return {&arrival_, 1};
  }

 private:
  const double gap_;
  uint64_t left_;
  base::Random random_;
  const Draw draw_;
  double at_ = 0;
  Arrival arrival_{};
};

inline PoissonSource::Draw Exponential(Duration mean) {
  return [mean](base::Random& random, Arrival& arrival) {
    arrival.service = Duration(1 + static_cast<int64_t>(random.Exponential(
                                       static_cast<double>(mean.count()))));
  };
}

inline PoissonSource::Draw Fixed(Duration service) {
  return
      [service](base::Random&, Arrival& arrival) { arrival.service = service; };
}

// Class 0 takes `one`, class 1, that is the share `second` of all, `other`.
inline PoissonSource::Draw Bimodal(Duration one, Duration other,
                                   double second) {
  return [one, other, second](base::Random& random, Arrival& arrival) {
    arrival.request_class = random.Uniform() < second ? 1 : 0;
    arrival.service = arrival.request_class == 1 ? other : one;
  };
}

// Keeps each request's sojourn by when it came, and counts.
class SojournLog final : public Observer {
 public:
  void Finished(const Arrival& arrival, Instant now) override {
    sojourns[arrival.at] = now - arrival.at;
    order.push_back(arrival.at.time_since_epoch());
  }
  void Refused(const Arrival& arrival) override {
    refused.push_back(arrival.at.time_since_epoch());
  }

  std::map<Instant, Duration> sojourns;
  std::vector<Duration> order;  // In which they ended, by when they came.
  std::vector<Duration> refused;

  Duration Of(Duration at) const { return sojourns.at(Instant(at)); }
};

}  // namespace yamanote::sim
