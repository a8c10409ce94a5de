// measure.h - measures one load, start to end: connect, warm up, run, account.

#pragma once

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "tools/load/combine.h"
#include "tools/load/result.h"
#include "tools/load/schedule.h"
#include "tools/load/sockets.h"
#include "tools/load/wire.h"

namespace yamanote::load {

inline constexpr unsigned kMaxConnections = 10'000;
inline constexpr unsigned kMaxThreads = 64;
inline constexpr unsigned kMaxRepeats = 100;

struct LoadOptions {
  Target target{};
  Transport transport = Transport::kUdp;
  Workload workload{};
  Arrivals arrivals{};
  KvOptions kv{};
  unsigned connections = 16;
  unsigned threads = 1;
  unsigned repeat = 1;
  Combining combining = Combining::kSum;  // Of the repeats.
  uint64_t seed = 1;
  Duration duration = std::chrono::seconds(5);  // Of the window.
  Duration warmup = std::chrono::milliseconds(500);
  Duration drain = std::chrono::seconds(1);
  Duration gap_threshold{};  // Zero: Prepare() measures this machine's hum.
  std::vector<int> cpus{};  // Thread i is pinned to cpus[i]; empty: not pinned.
  std::string record_path{};
  std::string label{};
};

// Told how far a run is, from a thread of its own, about 5 times a second.
using Progress =
    std::function<void(uint64_t due, uint64_t total, double seconds)>;

class Measurement {
 public:
  explicit Measurement(LoadOptions options) : options_(std::move(options)) {}

  // Makes sure that the target answers, fills the store (kv) and measures each
  // class's unloaded latency. Call once, before Measure(). kUnavailable if
  // nothing answers.
  Result<void> Prepare();

  // Measures one load with `repeat` seeds. An invalid point is a result, not an
  // error. Not thread-safe; runs threads of its own and joins them.
  Result<PointResult> Measure(double rate_rps);

  // One run of it with `seed`, for who measures several targets in turn and
  // combines the runs of each himself.
  Result<Run> MeasureSeed(double rate_rps, uint64_t seed);

  // Each class's unloaded latency, by which kv's slowdowns divide; NaN where
  // there is none. Who compares several servers gives all the same.
  const std::vector<double>& floors_us() const { return floors_us_; }
  void set_floors_us(std::vector<double> floors_us) {
    floors_us_ = std::move(floors_us);
  }

  // From the next run on.
  void SetWindow(Duration warmup, Duration duration);

  // Whether every request was written to `record_path`; after the first failure
  // none is any more. It fails no measurement: that would be lost with it.
  const Result<void>& recording() const { return recording_; }

  // A result that holds everything but the points.
  LoadResult Describe() const;

  void set_progress(Progress progress) { progress_ = std::move(progress); }

  // Ends the current and every later run. Async-signal-safe.
  void Stop() { stop_.store(true); }
  bool stopped() const { return stop_.load(); }

 private:
  struct Plan;

  Result<std::vector<ThreadLog>> Execute(Plan plan);
  Result<void> Preload();
  Result<std::vector<ThreadLog>> RunSequence(std::vector<Sample> samples,
                                             unsigned window,
                                             KvTraffic traffic);
  Result<double> MeasureFloor(uint8_t request_class);
  Result<void> Record(uint64_t seed, const std::vector<ThreadLog>& logs);
  void WriteSamples(std::FILE& file, uint64_t seed,
                    const std::vector<ThreadLog>& logs);
  std::unique_ptr<Wire> MakeWire(size_t lanes, KvTraffic traffic);

  LoadOptions options_;
  std::vector<double> floors_us_;
  Progress progress_;
  std::atomic<bool> stop_{false};
  uint64_t runs_ = 0;
  bool recorded_ = false;
  Result<void> recording_{};
};

}  // namespace yamanote::load
