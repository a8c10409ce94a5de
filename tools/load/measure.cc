// measure.cc - connections, threads and repeats of one measured load.

#include "tools/load/measure.h"

#include <fmt/format.h>
#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <condition_variable>
#include <cstdio>
#include <ctime>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>

#include "tools/load/pin.h"
#include "tools/load/units.h"

namespace yamanote::load {
namespace {

using std::chrono::milliseconds;

constexpr Duration kConnectTimeout = std::chrono::seconds(3);
constexpr Duration kStartDelay = milliseconds(3);
constexpr int kProbes = 3;
constexpr unsigned kFloorSamples = 200;
constexpr Duration kFloorTime = milliseconds(300);
constexpr unsigned kPreloadWindow = 16;
constexpr int kPreloadRounds = 4;
constexpr double kGuessedScanNanos = 1000;  // For each key, its way included.

// Joins on every way out.
class Threads {
 public:
  ~Threads() { Join(); }
  template <typename F>
  void Start(F&& function) {
    threads_.emplace_back(std::forward<F>(function));
  }
  void Join() {
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

 private:
  std::vector<std::thread> threads_;
};

// Calls `progress` now and then until it is destroyed.
class ProgressThread {
 public:
  ProgressThread(Progress progress, const std::atomic<uint64_t>& due,
                 uint64_t total) {
    if (!progress) return;
    thread_ = std::thread([this, progress = std::move(progress), &due, total] {
      const Instant start = Clock::now();
      std::unique_lock lock(mutex_);
      while (
          !done_.wait_for(lock, milliseconds(200), [this] { return ended_; })) {
        const double seconds =
            std::chrono::duration<double>(Clock::now() - start).count();
        // A display: no other data hangs on the count.
        progress(due.load(std::memory_order_relaxed), total, seconds);
      }
    });
  }
  ~ProgressThread() {
    if (!thread_.joinable()) return;
    {
      const std::lock_guard lock(mutex_);
      ended_ = true;
    }
    done_.notify_one();
    thread_.join();
  }

 private:
  std::mutex mutex_;
  std::condition_variable done_;
  bool ended_ = false;
  std::thread thread_;
};

}  // namespace

struct Measurement::Plan {
  std::vector<std::vector<Sample>> samples{};  // By thread.
  unsigned connections = 1;
  unsigned window = 0;
  Duration drain{};
  KvTraffic traffic = KvTraffic::kWorkload;
};

std::unique_ptr<Wire> Measurement::MakeWire(size_t lanes, KvTraffic traffic) {
  if (IsStore(options_.workload.application())) {
    return MakeKvWire(options_.transport, lanes, options_.workload, options_.kv,
                      traffic);
  }
  const auto nonce =
      base::Random(static_cast<uint64_t>(ToNanos(Clock::now())), ++runs_)();
  return MakeSpinWire(options_.transport, lanes, nonce);
}

Result<std::vector<ThreadLog>> Measurement::Execute(Plan plan) {
  const auto threads = static_cast<unsigned>(plan.samples.size());
  std::atomic<uint64_t> due{0};
  uint64_t total = 0;
  std::vector<std::unique_ptr<Driver>> drivers;
  std::vector<std::vector<Descriptor>> connections(threads);
  for (unsigned i = 0; i < plan.connections; ++i) {
    auto connection =
        Connect(options_.target, options_.transport, kConnectTimeout);
    if (!connection) return tl::unexpected(connection.error());
    connections[i % threads].push_back(std::move(*connection));
  }
  for (unsigned i = 0; i < threads; ++i) {
    Descriptor epoll(epoll_create1(EPOLL_CLOEXEC));
    if (!epoll.open()) {
      return MakeError(
          ErrorCode::kResourceExhausted,
          "no descriptor is left for epoll; use fewer --connections or "
          "raise `ulimit -n`",
          errno);
    }
    DriverOptions driver;
    driver.transport = options_.transport;
    driver.drain = plan.drain;
    driver.gap_threshold = options_.gap_threshold;
    driver.window = plan.window;
    driver.threads = threads;
    driver.stop = &stop_;
    driver.progress = &due;
    total += plan.samples[i].size();
    auto wire = MakeWire(connections[i].size(), plan.traffic);
    drivers.push_back(std::make_unique<Driver>(
        driver, std::move(epoll), std::move(connections[i]), std::move(wire),
        std::move(plan.samples[i])));
  }
  std::vector<ThreadLog> logs(threads);
  const bool measured =
      plan.window == 0 && plan.traffic == KvTraffic::kWorkload;
  const ProgressThread reporter(measured ? progress_ : Progress{}, due, total);
  const Instant start = Clock::now() + kStartDelay;
  Threads running;
  for (unsigned i = 0; i < threads; ++i) {
    running.Start([&, i] {
      if (!options_.cpus.empty()) {
        PinCurrentThread(options_.cpus[i % options_.cpus.size()]);
      }
      logs[i] = drivers[i]->Run(start);
    });
  }
  running.Join();
  return logs;
}

// Runs `samples` over one connection: probes, floors and filling.
Result<std::vector<ThreadLog>> Measurement::RunSequence(
    std::vector<Sample> samples, unsigned window, KvTraffic traffic) {
  Plan plan;
  plan.samples.push_back(std::move(samples));
  plan.window = window;
  plan.drain = std::min<Duration>(options_.drain, std::chrono::seconds(1));
  plan.traffic = traffic;
  return Execute(std::move(plan));
}

Result<void> Measurement::Prepare() {
  if (options_.gap_threshold == Duration::zero()) {
    options_.gap_threshold =
        MeasureGapThreshold(options_.cpus.empty() ? -1 : options_.cpus.front());
  }
  const size_t classes = options_.workload.classes().size();
  floors_us_.assign(classes, kNoFigure);
  Error last{ErrorCode::kUnavailable, "", 0};
  bool answers = false;
  for (int i = 0; i < kProbes && !answers && !stopped(); ++i) {
    std::vector<Sample> probe(1);
    auto logs = RunSequence(std::move(probe), 0, KvTraffic::kWorkload);
    if (!logs) return tl::unexpected(logs.error());
    const Status status = logs->front().samples.front().status;
    answers = status == Status::kAnswered || status == Status::kRefused;
  }
  if (stopped()) {
    return MakeError(ErrorCode::kCancelled,
                     "interrupted before the measurement began");
  }
  if (!answers) {
    return MakeError(
        ErrorCode::kUnavailable,
        fmt::format(
            "{} does not answer a {} request over {} within {}; is the server "
            "running, and does it speak this protocol?",
            options_.target.text, ToString(options_.workload.application()),
            options_.transport == Transport::kTcp ? "tcp" : "udp",
            FormatTime(
                std::min<Duration>(options_.drain, std::chrono::seconds(1)))));
  }
  if (IsStore(options_.workload.application())) {
    if (auto filled = Preload(); !filled) return filled;
  }
  for (size_t i = 0; i < classes; ++i) {
    auto floor = MeasureFloor(static_cast<uint8_t>(i));
    if (!floor) return tl::unexpected(floor.error());
    floors_us_[i] = *floor;
  }
  if (stopped()) {
    return MakeError(ErrorCode::kCancelled,
                     "interrupted before the measurement began");
  }
  return {};
}

Result<void> Measurement::Preload() {
  std::vector<uint32_t> wanted(options_.kv.keys);
  for (uint32_t i = 0; i < options_.kv.keys; ++i) wanted[i] = i;
  // RocksDB's server comes with keys. Stored again, each of them would lie in a
  // memtable and in a table, and scans would walk over both.
  const bool probes = options_.workload.application() == Application::kRocksdb;
  // A datagram may be lost and a server may refuse: ask again, a few times.
  for (int round = probes ? -1 : 0;
       round < kPreloadRounds && !wanted.empty() && !stopped(); ++round) {
    std::vector<Sample> samples(wanted.size());
    for (size_t i = 0; i < wanted.size(); ++i)
      samples[i].service_ns = wanted[i];
    auto logs =
        RunSequence(std::move(samples), kPreloadWindow,
                    round < 0 ? KvTraffic::kProbe : KvTraffic::kPreload);
    if (!logs) return tl::unexpected(logs.error());
    wanted.clear();
    for (const Sample& sample : logs->front().samples) {
      if (sample.status != Status::kAnswered)
        wanted.push_back(sample.service_ns);
    }
  }
  if (!wanted.empty() && !stopped()) {
    return MakeError(
        ErrorCode::kUnavailable,
        fmt::format(
            "filling the store: {} of {} keys with values of {} bytes were not "
            "stored; use fewer --keys or a smaller --value-bytes, or give the "
            "server more memory",
            wanted.size(), options_.kv.keys, options_.kv.value_bytes));
  }
  return {};
}

// The median latency of one request at a time, of those that no gap of the
// generator touched if there are enough. NaN for spin classes that are not
// of one service time: each of their requests has its own floor.
Result<double> Measurement::MeasureFloor(uint8_t request_class) {
  const RequestClass& of = options_.workload.classes()[request_class];
  const bool spin = options_.workload.application() == Application::kSpin;
  if (spin && of.shape != Shape::kFixed) return kNoFigure;
  // Of a scan a guess, so that the requests stay alone.
  const auto service_ns = static_cast<int64_t>(
      spin                                 ? of.scale_ns
      : of.operation == KvOperation::kScan ? of.keys * kGuessedScanNanos
                                           : 0);
  const int64_t interval_ns = std::max<int64_t>(1'000'000, 3 * service_ns);
  const auto count = static_cast<size_t>(
      std::clamp<int64_t>(ToNanos(kFloorTime) / interval_ns, 3, kFloorSamples));
  base::Random random(options_.seed, 100);
  std::vector<Sample> samples(count);
  for (size_t i = 0; i < count; ++i) {
    samples[i].intended_ns = static_cast<int64_t>(i) * interval_ns;
    samples[i].request_class = request_class;
    samples[i].service_ns = spin ? static_cast<uint32_t>(service_ns)
                                 : static_cast<uint32_t>(random());
  }
  auto logs = RunSequence(std::move(samples), 0, KvTraffic::kWorkload);
  if (!logs) return tl::unexpected(logs.error());
  const ThreadLog& log = logs->front();
  base::Histogram all_ns, undisturbed_ns;
  for (const Sample& sample : log.samples) {
    if (sample.status != Status::kAnswered) continue;
    const auto latency_ns = static_cast<uint64_t>(
        std::max<int64_t>(sample.received_ns - sample.sent_ns, 0));
    all_ns.Record(latency_ns);
    if (!log.gaps.Overlaps(sample.sent_ns, sample.received_ns)) {
      undisturbed_ns.Record(latency_ns);
    }
  }
  const bool enough = 10 * undisturbed_ns.count() >= all_ns.count();
  return (enough ? undisturbed_ns : all_ns).Quantile(0.5) / 1e3;
}

Result<Run> Measurement::MeasureSeed(double rate_rps, uint64_t seed) {
  ScheduleOptions schedule;
  schedule.rate_rps = rate_rps;
  schedule.length = options_.warmup + options_.duration;
  schedule.arrivals = options_.arrivals;
  schedule.connections = options_.connections;
  schedule.threads = options_.threads;
  schedule.seed = seed;
  auto samples = BuildSchedule(schedule, options_.workload);
  if (!samples) return tl::unexpected(samples.error());
  Plan plan;
  plan.samples = std::move(*samples);
  plan.connections = options_.connections;
  plan.drain = options_.drain;
  auto logs = Execute(std::move(plan));
  if (!logs) return tl::unexpected(logs.error());
  if (recording_) recording_ = Record(seed, *logs);
  Account account(options_.workload, floors_us_);
  account.AddRun(*logs, {ToNanos(options_.warmup), ToNanos(schedule.length)},
                 static_cast<double>(ToNanos(options_.gap_threshold)) / 1e3);
  RunResult result = account.ToRun(seed);
  return Run{std::move(account), std::move(result)};
}

Result<PointResult> Measurement::Measure(double rate_rps) {
  Combination runs(rate_rps, options_.combining);
  for (unsigned i = 0; i < options_.repeat && (runs.runs() == 0 || !stopped());
       ++i) {
    Result<Run> run = MeasureSeed(rate_rps, options_.seed + i);
    if (!run) return tl::unexpected(run.error());
    runs.Add(*run);
  }
  return runs.ToPoint();
}

void Measurement::SetWindow(Duration warmup, Duration duration) {
  options_.warmup = warmup;
  options_.duration = duration;
}

Result<void> Measurement::Record(uint64_t seed,
                                 const std::vector<ThreadLog>& logs) {
  if (options_.record_path.empty()) return {};
  const auto close = [](std::FILE* file) { std::fclose(file); };
  const std::unique_ptr<std::FILE, decltype(close)> file(
      std::fopen(options_.record_path.c_str(), recorded_ ? "a" : "w"), close);
  if (!file) {
    return MakeError(
        ErrorCode::kInvalidArgument,
        fmt::format("--record {}: {}; choose a path that can be written",
                    options_.record_path, ErrnoText(errno)),
        errno);
  }
  // fmt throws what the disk refuses.
  try {
    WriteSamples(*file, seed, logs);
    if (std::fflush(file.get()) == 0 && std::ferror(file.get()) == 0) return {};
  } catch (const std::system_error& error) {
    errno = error.code().value();
  }
  return MakeError(
      ErrorCode::kResourceExhausted,
      fmt::format("--record {}: writing failed: {}; is the disk full?",
                  options_.record_path, ErrnoText(errno)),
      errno);
}

void Measurement::WriteSamples(std::FILE& file, uint64_t seed,
                               const std::vector<ThreadLog>& logs) {
  if (!recorded_) {
    fmt::print(&file,
               "seed,intended_ns,sent_ns,received_ns,class,service_ns,"
               "connection,status\n");
    recorded_ = true;
  }
  const bool store = IsStore(options_.workload.application());
  const auto time = [](int64_t ns) {
    return ns < 0 ? std::string() : fmt::format("{}", ns);
  };
  for (const ThreadLog& log : logs) {
    for (const Sample& s : log.samples) {
      const bool answered = s.status == Status::kAnswered;
      const char* status = answered                       ? "ok"
                           : s.status == Status::kRefused ? "refused"
                                                          : "lost";
      fmt::print(&file, "{},{},{},{},{},{},{},{}\n", seed, s.intended_ns,
                 time(s.sent_ns), time(s.received_ns), s.request_class,
                 store ? 0 : s.service_ns, s.connection, status);
    }
  }
}

LoadResult Measurement::Describe() const {
  LoadResult out;
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  char text[32];
  std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &utc);
  out.started = text;
  out.label = options_.label;
  out.target = options_.target.text;
  out.application = ToString(options_.workload.application());
  out.protocol = options_.transport == Transport::kTcp ? "tcp" : "udp";
  out.service = options_.workload.text();
  switch (options_.arrivals.kind) {
    case Arrivals::Kind::kPoisson:
      out.arrivals = "poisson";
      break;
    case Arrivals::Kind::kFixed:
      out.arrivals = "fixed";
      break;
    case Arrivals::Kind::kBurst:
      out.arrivals = fmt::format("burst:{}", options_.arrivals.burst);
      break;
  }
  out.connections = options_.connections;
  out.threads = options_.threads;
  out.duration_s = std::chrono::duration<double>(options_.duration).count();
  out.warmup_s = std::chrono::duration<double>(options_.warmup).count();
  out.combining = ToString(options_.combining);
  return out;
}

}  // namespace yamanote::load
