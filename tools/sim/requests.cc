// requests.cc - draws requests from a workload, or reads them from a trace.

#include <algorithm>
#include <array>
#include <cmath>
#include <span>

#include "base/random.h"
#include "tools/sim/scenario.h"

namespace yamanote::simulation {
namespace {

// Independent streams, as `yamanote load` has them: the n-th request has the same class
// and service time at every rate.
enum Stream : uint64_t {
  kArrivalStream,
  kClassStream,
  kServiceStream,
  kConnectionStream
};

// As many requests are drawn or read, 2.5 KiB of them.
constexpr std::size_t kAtATime = 64;

class Drawn final : public sim::Source {
 public:
  Drawn(const Scenario& scenario, uint64_t seed)
      : scenario_(scenario),
        gap_ns_(1e9 / scenario.rate_rps * scenario.arrivals.burst),
        left_(scenario.requests),
        arrivals_(seed, kArrivalStream),
        classes_(seed, kClassStream),
        services_(seed, kServiceStream),
        connections_(seed, kConnectionStream) {}

  std::span<const sim::Arrival> NextFew() override {
    const std::span few =
        std::span(drawn_).first(std::min<uint64_t>(left_, drawn_.size()));
    left_ -= few.size();
    DrawTimes(few);
    DrawClasses(few);
    DrawServices(few);
    DrawFlows(few);
    return few;
  }

 private:
  static std::vector<Duration> Slos(const Scenario& scenario) {
    std::vector<Duration> slos;
    for (const ClassOptions& one : scenario.scheduling.classes)
      slos.push_back(one.slo);
    return slos;
  }

  // One column after the other: each with its own generator, which can stay in
  // registers.
  void DrawTimes(std::span<sim::Arrival> few) {
    if (scenario_.arrivals.kind != load::Arrivals::Kind::kFixed &&
        scenario_.arrivals.burst == 1 && scenario_.period == Duration::zero()) {
      base::Random random = arrivals_;
      double at_ns = at_ns_;
      for (sim::Arrival& arrival : few) {
        at_ns += random.Exponential(gap_ns_);
        arrival.at = At(at_ns);
      }
      arrivals_ = random;
      at_ns_ = at_ns;
      return;
    }
    for (sim::Arrival& arrival : few) {
      if (in_burst_ == 0) {
        in_burst_ = scenario_.arrivals.burst;
        Advance();
      }
      --in_burst_;
      arrival.at = At(at_ns_);
    }
  }

  static Instant At(double at_ns) {
    return Instant(Duration(static_cast<int64_t>(at_ns)));
  }

  void DrawClasses(std::span<sim::Arrival> few) {
    if (scenario_.workload.classes().size() == 1) {
      const Duration slo = slos_[0];
      for (sim::Arrival& arrival : few) {
        arrival.request_class = 0;
        arrival.deadline = arrival.at + slo;
      }
      return;
    }
    for (sim::Arrival& arrival : few) {
      arrival.request_class = scenario_.workload.DrawClass(classes_);
      arrival.deadline = arrival.at + slos_[arrival.request_class];
    }
  }

  void DrawServices(std::span<sim::Arrival> few) {
    const load::Workload& workload = scenario_.workload;
    base::Random random = services_;
    for (sim::Arrival& arrival : few) {
      const auto request_class = static_cast<uint8_t>(arrival.request_class);
      arrival.service = Duration(
          std::max<uint32_t>(workload.DrawService(request_class, random), 1));
    }
    services_ = random;
  }

  void DrawFlows(std::span<sim::Arrival> few) {
    if (scenario_.connections == 0) {
      uint64_t connection = next_connection_;
      for (sim::Arrival& arrival : few)
        arrival.flow = load::FlowOf(connection++);
      next_connection_ = connection;
      return;
    }
    for (sim::Arrival& arrival : few)
      arrival.flow = load::FlowOf(connections_.Below(scenario_.connections));
  }

  void Advance() {
    if (scenario_.period == Duration::zero()) {
      at_ns_ += scenario_.arrivals.kind == load::Arrivals::Kind::kFixed
                    ? gap_ns_
                    : arrivals_.Exponential(gap_ns_);
      return;
    }
    // Thinning (Lewis and Shedler, 1979): arrivals at the highest rate, of which those
    // stay that the rate at their time asks for.
    const double most = 1 + scenario_.swing;
    for (;;) {
      at_ns_ += arrivals_.Exponential(gap_ns_ / most);
      const double phase = 2 * 3.141592653589793 * at_ns_ /
                           static_cast<double>(ToNanos(scenario_.period));
      if (arrivals_.Uniform() * most <= 1 + scenario_.swing * std::sin(phase))
        return;
    }
  }

  const Scenario& scenario_;
  const double gap_ns_;
  const std::vector<Duration> slos_ = Slos(scenario_);
  uint64_t left_;
  base::Random arrivals_, classes_, services_, connections_;
  double at_ns_ = 0;
  unsigned in_burst_ = 0;
  uint64_t next_connection_ = 1;
  std::array<sim::Arrival, kAtATime> drawn_;
};

class Traced final : public sim::Source {
 public:
  Traced(const Scenario& scenario, uint64_t seed)
      : scenario_(scenario), connections_(seed, kConnectionStream) {}

  std::span<const sim::Arrival> NextFew() override {
    const uint64_t left = std::min<uint64_t>(scenario_.trace->requests.size(),
                                             scenario_.requests) -
                          next_;
    const std::span few =
        std::span(read_).first(std::min<uint64_t>(left, read_.size()));
    for (sim::Arrival& arrival : few) Read(arrival);
    return few;
  }

 private:
  void Read(sim::Arrival& arrival) {
    const TracedRequest& request = scenario_.trace->requests[next_++];
    arrival.at = Instant(Duration(request.at_ns));
    arrival.service = Duration(request.service_ns);
    arrival.request_class = request.request_class;
    // What the trace says, unless there are to be so many.
    arrival.flow = load::FlowOf(
        scenario_.connections != 0 ? connections_.Below(scenario_.connections)
        : request.connection != kNoConnection ? request.connection
                                              : next_);
    arrival.deadline =
        arrival.at + scenario_.scheduling.classes[request.request_class].slo;
  }

  const Scenario& scenario_;
  base::Random connections_;
  uint64_t next_ = 0;
  std::array<sim::Arrival, kAtATime> read_;
};

}  // namespace

std::unique_ptr<sim::Source> MakeSource(const Scenario& scenario,
                                        uint64_t seed) {
  if (scenario.trace != nullptr)
    return std::make_unique<Traced>(scenario, seed);
  return std::make_unique<Drawn>(scenario, seed);
}

}  // namespace yamanote::simulation
