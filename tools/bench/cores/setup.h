// setup.h - what the scenarios of `yamanote bench cores` have in common: the CPUs, the ways
// to share them that are compared, and how one slice of time is measured.
//
// A way gets a slice of each round in turn, with the same requests, so that what the
// machine does meanwhile falls upon all; figures are medians over the rounds, and their
// quartiles say how much rounds differ.

#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tools/bench/cores/neighbours.h"
#include "tools/bench/cores/service.h"
#include "tools/bench/overhead.h"
#include "tools/load/workload.h"

namespace yamanote::bench {

struct CoresOptions {
  std::vector<int> cpus;  // Shared by all parties.
  int generator_cpu = -1;
  // One of `cpus`, where the daemon polls: it hands out the others. -1: it is driven by
  // events.
  int poll_cpu = -1;
  Scheduling scheduling;
  std::string service;  // As `yamanote load spin --service`.
  std::vector<double> loads;
  Duration length = std::chrono::seconds(5);  // Of each way, at each load.
  Duration round = std::chrono::seconds(1);   // A slice of it.
  Duration period = std::chrono::milliseconds(40);  // Of what changes.
  uint64_t seed = 1;
};

// What becomes of the CPUs. The names are in kWays.
enum class Way : uint8_t {
  kAlone,    // The services are alone, on all.
  kArbiter,  // yamanoted; a service has 1 guaranteed core and may have all.
  kStatic,   // Each has its part: a half, rounded up for the services.
  kNice,     // All on all: Linux decides, the batch program with nice 19.
  kIdle,     // The same, but with SCHED_IDLE.
  kLinux,    // All on all, and no batch program: Linux decides.
};
std::string_view ToString(Way way);

// Quartiles by rank, so that they may be infinite; of those that are numbers (the ratio of
// two infinite figures is none), NaN if there is none.
Spread Ranked(std::vector<double> values);

// Says on standard error how far it is; false once the run was interrupted.
bool Report(const std::string& what);

// Catches SIGINT while it lives.
class Interruptible {
 public:
  Interruptible();
  ~Interruptible();
};

// The rate at which `cpus` would be busy all the time, requests/s.
double CapacityOf(const load::Workload& workload, size_t cpus);
Result<load::Workload> ParseService(const std::string& service);

// Arrivals at rates that change: a phase follows the other, again and again.
struct RatePhase {
  Duration length{0};
  double rate_rps = 0;
};
std::vector<Arrival> DrawPhases(const load::Workload& workload,
                                std::span<const RatePhase> phases,
                                Duration length, uint64_t seed);

// What the daemon hands out.
std::vector<int> HandedOut(const CoresOptions& options);

// The CPUs of services and of the batch program under kStatic; empty: there are too few.
struct Partition {
  std::vector<int> services;
  std::vector<int> batch;
};
Partition Divide(const std::vector<int>& cpus);

// For how long the hypervisor has had `cpus` since the machine was started.
Duration Stolen(std::span<const int> cpus);

// Parties of one slice. They end with it.
struct Parties {
  std::unique_ptr<Arbitration> arbitration;
  std::vector<std::unique_ptr<ServiceProcess>> services;
  std::unique_ptr<BatchProgram> batch;
};

// Starts the daemon if the way has one, a service for each of `arrivals`, and the batch
// program if `with_batch`.
Result<Parties> StartParties(const CoresOptions& options, Way way,
                             std::span<const std::vector<Arrival>> arrivals,
                             bool with_batch, double steps_per_us);

}  // namespace yamanote::bench
