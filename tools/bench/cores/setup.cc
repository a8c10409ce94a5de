// setup.cc - starts the parties of a slice.

#include "tools/bench/cores/setup.h"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <limits>
#include <sstream>

#include "base/random.h"

namespace yamanote::bench {
namespace {

std::atomic<bool> interrupted{false};
struct sigaction before_interrupt{};

}  // namespace

std::string_view ToString(Way way) {
  switch (way) {
    case Way::kAlone:
      return "alone";
    case Way::kArbiter:
      return "arbiter";
    case Way::kStatic:
      return "static";
    case Way::kNice:
      return "nice";
    case Way::kIdle:
      return "idle";
    case Way::kLinux:
      return "linux";
  }
  return "?";
}

Spread Ranked(std::vector<double> values) {
  std::erase_if(values, [](double value) { return std::isnan(value); });
  if (values.empty()) {
    constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
    return {.median = kNone, .p25 = kNone, .p75 = kNone};
  }
  std::ranges::sort(values);
  const auto at = [&](double q) {
    return values[static_cast<size_t>(
        q * static_cast<double>(values.size() - 1) + 0.5)];
  };
  return {.median = at(0.5), .p25 = at(0.25), .p75 = at(0.75)};
}

bool Report(const std::string& what) {
  if (isatty(STDERR_FILENO) != 0) {
    std::fprintf(stderr, "\r\033[K%s", what.c_str());
    if (what.empty()) std::fprintf(stderr, "\r");
  }
  return !interrupted.load();
}

Interruptible::Interruptible() {
  interrupted = false;
  struct sigaction action{};
  action.sa_handler = [](int) { interrupted = true; };
  sigaction(SIGINT, &action, &before_interrupt);
}

Interruptible::~Interruptible() {
  Report("");
  sigaction(SIGINT, &before_interrupt, nullptr);
}

Result<load::Workload> ParseService(const std::string& service) {
  Result<load::Workload> workload =
      load::Workload::Parse(load::Application::kSpin, service);
  if (workload && !std::isfinite(workload->MeanServiceNanos())) {
    return MakeError(ErrorCode::kInvalidArgument,
                     "--service '" + service +
                         "' has no mean, so no rate is a share of the load; "
                         "choose an alpha above 1");
  }
  return workload;
}

double CapacityOf(const load::Workload& workload, size_t cpus) {
  return static_cast<double>(cpus) * 1e9 / workload.MeanServiceNanos();
}

std::vector<Arrival> DrawPhases(const load::Workload& workload,
                                std::span<const RatePhase> phases,
                                Duration length, uint64_t seed) {
  base::Random random(seed);
  std::vector<Arrival> arrivals;
  Duration begin{0};
  for (size_t i = 0; begin < length; i = (i + 1) % phases.size()) {
    const RatePhase& phase = phases[i];
    const Duration end = std::min(begin + phase.length, length);
    // Exponential gaps have no memory: each phase may begin anew.
    auto at = static_cast<double>(ToNanos(begin));
    while (phase.rate_rps > 0) {
      at += random.Exponential(1e9 / phase.rate_rps);
      if (at >= static_cast<double>(ToNanos(end))) break;
      const uint8_t request_class = workload.DrawClass(random);
      arrivals.push_back(
          {.at = Duration(static_cast<int64_t>(at)),
           .service_ns = workload.DrawService(request_class, random),
           .request_class = request_class});
    }
    begin = end;
  }
  return arrivals;
}

std::vector<int> HandedOut(const CoresOptions& options) {
  std::vector<int> cpus = options.cpus;
  std::erase(cpus, options.poll_cpu);
  return cpus;
}

Partition Divide(const std::vector<int>& cpus) {
  if (cpus.size() < 2) return {};
  const auto middle =
      cpus.begin() + static_cast<ptrdiff_t>((cpus.size() + 1) / 2);
  return {.services = {cpus.begin(), middle}, .batch = {middle, cpus.end()}};
}

Duration Stolen(std::span<const int> cpus) {
  std::ifstream file("/proc/stat");
  std::string line;
  int64_t ticks = 0;
  while (std::getline(file, line)) {
    std::istringstream words(line);
    std::string name;
    words >> name;
    for (const int cpu : cpus) {
      if (name != "cpu" + std::to_string(cpu)) continue;
      int64_t value = 0;
      // user nice system idle iowait irq softirq steal, proc(5).
      for (int field = 0; field < 8; ++field) words >> value;
      ticks += value;
    }
  }
  return Duration(std::chrono::seconds(1)) / sysconf(_SC_CLK_TCK) * ticks;
}

Result<Parties> StartParties(const CoresOptions& options, Way way,
                             std::span<const std::vector<Arrival>> arrivals,
                             bool with_batch, double steps_per_us) {
  Parties parties;
  std::vector<int> services = options.cpus;
  std::vector<int> batch = options.cpus;
  std::string socket;
  if (way == Way::kArbiter) {
    services = batch = HandedOut(options);
    Result<std::unique_ptr<Arbitration>> arbitration =
        Arbitration::Start(services, options.poll_cpu);
    if (!arbitration) return tl::unexpected(arbitration.error());
    parties.arbitration = std::move(*arbitration);
    socket = parties.arbitration->socket();
  } else if (way == Way::kStatic && with_batch) {
    const Partition partition = Divide(options.cpus);
    services = partition.services;
    batch = partition.batch;
  }
  for (size_t i = 0; i < arrivals.size(); ++i) {
    ServicePlan plan;
    plan.cpus = services;
    if (way == Way::kStatic && arrivals.size() > 1) {
      // Services without a batch program: a part for each.
      plan.cpus.clear();
      for (size_t cpu = i; cpu < services.size(); cpu += arrivals.size())
        plan.cpus.push_back(services[cpu]);
    }
    plan.arbiter.socket = socket;
    plan.arbiter.name = fmt::format("service-{}", i + 1);
    plan.scheduling = options.scheduling;
    plan.generator = {.cpu = options.generator_cpu, .shared = options.cpus};
    plan.arrivals = arrivals[i];
    plan.steps_per_us = steps_per_us;
    Result<std::unique_ptr<ServiceProcess>> service =
        ServiceProcess::Start(std::move(plan));
    if (!service) return tl::unexpected(service.error());
    parties.services.push_back(std::move(*service));
  }
  if (!with_batch || way == Way::kAlone) return parties;
  const Batch how = way == Way::kArbiter ? Batch::kBestEffort
                    : way == Way::kNice  ? Batch::kNice
                    : way == Way::kIdle  ? Batch::kIdle
                                         : Batch::kPlain;
  Result<std::unique_ptr<BatchProgram>> program =
      BatchProgram::Start(how, batch, socket);
  if (!program) return tl::unexpected(program.error());
  parties.batch = std::move(*program);
  return parties;
}

}  // namespace yamanote::bench
