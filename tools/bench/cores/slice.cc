// slice.cc - starts the parties, looks at what they used, ends them.

#include "tools/bench/cores/slice.h"

#include <algorithm>
#include <thread>

namespace yamanote::bench {
namespace {

using namespace std::chrono_literals;

// What was used from one look to the next.
class Meter {
 public:
  Meter(const Parties& parties, const std::vector<int>& cpus)
      : parties_(parties), cpus_(cpus) {}

  void Begin() { begin_ = Look(); }
  void End(Slice& slice) const {
    const Sample end = Look();
    const double seconds =
        std::chrono::duration<double>(end.at - begin_.at).count();
    const auto rate = [seconds](Duration from, Duration to) {
      return std::chrono::duration<double>(to - from).count() / seconds;
    };
    slice.service_cpus = rate(begin_.service, end.service);
    slice.daemon_cpus = rate(begin_.daemon, end.daemon);
    slice.stolen_share =
        rate(begin_.stolen, end.stolen) / static_cast<double>(cpus_.size());
    slice.batch_units_per_second =
        static_cast<double>(end.units - begin_.units) / seconds;
  }

 private:
  struct Sample {
    Instant at{};
    Duration service{0};
    Duration daemon{0};
    Duration stolen{0};
    uint64_t units = 0;
  };

  Sample Look() const {
    Sample sample{.at = Clock::now(), .stolen = Stolen(cpus_)};
    for (const auto& service : parties_.services)
      sample.service += service->Cpu();
    if (parties_.arbitration) sample.daemon = parties_.arbitration->Cpu();
    if (parties_.batch) sample.units = parties_.batch->Units();
    return sample;
  }

  const Parties& parties_;
  const std::vector<int>& cpus_;
  Sample begin_;
};

}  // namespace

Result<Slice> MeasureSlice(const CoresOptions& options, Way way,
                           std::span<const std::vector<Arrival>> arrivals,
                           bool with_batch, double steps_per_us) {
  Result<Parties> parties =
      StartParties(options, way, arrivals, with_batch, steps_per_us);
  if (!parties) return tl::unexpected(parties.error());
  Slice slice;
  Meter meter(*parties, options.cpus);
  const Instant start = Clock::now() + 20ms;
  for (const auto& service : parties->services) service->Go(start);
  std::this_thread::sleep_for(start + kSettling - Clock::now());
  meter.Begin();
  std::this_thread::sleep_for(start + kSettling + options.round - Clock::now());
  meter.End(slice);
  uint64_t grants = 0;
  for (const auto& service : parties->services) {
    if (const Result<void> done = service->Wait(); !done)
      return tl::unexpected(done.error());
    std::ranges::copy_if(service->answers(),
                         std::back_inserter(slice.answers.emplace_back()),
                         [](const ServiceProcess::Answer& answer) {
                           return answer.sent >= kSettling;
                         });
    grants += service->grants();
    slice.generator_late_p99_us = std::max(
        slice.generator_late_p99_us,
        static_cast<double>(ToNanos(service->generator_late_p99())) / 1000);
    slice.generator_prompt =
        slice.generator_prompt && service->generator_prompt();
  }
  slice.grants_per_second =
      static_cast<double>(grants) /
      std::chrono::duration<double>(kSettling + options.round).count();
  return slice;
}

Result<double> MeasureBatchAlone(const CoresOptions& options) {
  Parties parties;
  Result<std::unique_ptr<BatchProgram>> program =
      BatchProgram::Start(Batch::kPlain, options.cpus, "");
  if (!program) return tl::unexpected(program.error());
  parties.batch = std::move(*program);
  Slice slice;
  Meter meter(parties, options.cpus);
  std::this_thread::sleep_for(20ms);
  meter.Begin();
  std::this_thread::sleep_for(std::max(options.round / 4, Duration(100ms)));
  meter.End(slice);
  return slice.batch_units_per_second;
}

base::Histogram LatencyOf(std::span<const ServiceProcess::Answer> answers) {
  base::Histogram latency;
  for (const ServiceProcess::Answer& answer : answers) {
    if (answer.latency == Duration::max()) {
      latency.RecordInfinite();
    } else {
      latency.Record(static_cast<uint64_t>(ToNanos(answer.latency)));
    }
  }
  return latency;
}

}  // namespace yamanote::bench
