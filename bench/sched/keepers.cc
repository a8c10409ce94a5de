// keepers.cc - how exactly slices end, by who keeps time (docs/adr/0018).
//
//   bench_sched_keepers [--slice-us N] [--seconds S]     (JSON to standard output)
//
// Requests that never end, one more than there are cores for them, so every slice ends
// with a preemption.
// What differs is who looks at the clock meanwhile. A stint is the time between a
// request's first and last step on its core, of all of them and of those in which no
// interrupt took the core away. Needs two CPUs.

#include <getopt.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "base/histogram.h"
#include "base/topology.h"
#include "dispatch/flow.h"
#include "tools/bench/trace.h"
#include "tools/load/pin.h"
#include "worker/engine.h"
#include "worker/spawn.h"
#include "yamanote/runtime.h"
#include "yamanote/thread.h"

namespace yamanote::bench {
namespace {

using namespace std::chrono_literals;

struct Arrangement {
  const char* name;
  const char* keeper;
  unsigned cores;
  PlacementKind placement;
  CoreId measured;  // The core of the requests.
  int requests;
  unsigned slots;  // Central: of a worker.
  Duration spin;   // Before an idle core sleeps.
  bool busy;       // Core 0 runs short tasks meanwhile.
  bool polled;     // A thread on the other CPU keeps time.
};

constexpr auto kCentral = PlacementKind::kCentral;
constexpr auto kPartitioned = PlacementKind::kPartitioned;
constexpr Arrangement kArrangements[] = {
    {"thread", "a thread that polls, such as a generator of load", 1, kCentral,
     0, 2, 1, 20us, false, true},
    {"dispatcher", "a dedicated dispatcher", 2, kCentral, 1, 2, 2, 20us, false,
     false},
    {"dispatcher-works", "a dedicated dispatcher that runs a request itself", 2,
     kCentral, 1, 3, 1, 20us, false, false},
    {"idle", "another core, idle, that does not sleep", 2, kPartitioned, 1, 2,
     1, 1h, false, false},
    {"idle-sleeps", "another core, idle, that sleeps after 20 us", 2,
     kPartitioned, 1, 2, 1, 20us, false, false},
    {"busy", "another core between tasks of 2 us", 2, kPartitioned, 1, 2, 1,
     20us, true, false},
    {"tick", "the kernel's tick alone", 1, kCentral, 0, 2, 1, 20us, false,
     false},
};

// What the tasks of one arrangement share.
struct Shared {
  explicit Shared(unsigned cores) : trace(cores) {}

  Trace trace;
  std::atomic<unsigned> running{0};
};

void RunForever(void* argument) {
  auto& shared = *static_cast<Shared*>(argument);
  Burn(shared.trace, UINT32_MAX);  // 4 s.
  shared.running.fetch_sub(1);
}

void RunShort(void* argument) {
  auto& shared = *static_cast<Shared*>(argument);
  while (!shared.trace.abandoned()) {
    for (const Instant end = Clock::now() + 2us; Clock::now() < end;) {
    }
    this_thread::yield();
  }
  shared.running.fetch_sub(1);
}

uint64_t FlowOf(CoreId core, unsigned cores) {
  uint64_t flow = 1;
  while (dispatch::HomeOfFlow(flow, cores) != core) ++flow;
  return flow;
}

nlohmann::json Measure(const Arrangement& arrangement,
                       const std::vector<int>& allowed, Duration slice,
                       Duration time) {
  Scheduling scheduling;
  scheduling.order = "rr";
  scheduling.slice = slice;
  scheduling.placement = arrangement.placement;
  scheduling.slots = arrangement.slots;
  if (arrangement.placement == kCentral && arrangement.cores > 1)
    scheduling.dispatcher = DispatcherKind::kDedicated;
  auto runtime = Runtime::Create(
      {.cpus = {allowed.begin(), allowed.begin() + arrangement.cores},
       .scheduling = scheduling,
       .spin = arrangement.spin});
  if (!runtime) {
    std::fprintf(stderr, "%s: %s\n", arrangement.name,
                 runtime.error().message.c_str());
    std::exit(1);
  }
  Shared shared(arrangement.cores);
  const auto spawn = [&](CoreId core, void (*entry)(void*)) {
    shared.running.fetch_add(1);
    if (!worker::Spawn(
            {.name = "request", .flow = FlowOf(core, arrangement.cores)}, entry,
            &shared))
      std::abort();  // There are four at most.
  };
  for (int i = 0; i < arrangement.requests; ++i)
    spawn(arrangement.measured, &RunForever);
  if (arrangement.busy) spawn(0, &RunShort);
  if (arrangement.busy) spawn(0, &RunShort);
  const Instant end = Clock::now() + time;
  if (arrangement.polled) {
    std::thread([&] {
      load::PinCurrentThread(allowed[1]);
      preempt::Timekeeper& timekeeper = (*runtime)->impl().timekeeper();
      for (Instant now = Clock::now(); now < end; now = Clock::now())
        timekeeper.Keep(now);
    }).join();
  } else {
    std::this_thread::sleep_for(time);
  }
  shared.trace.Abandon();
  while (shared.running.load() != 0) std::this_thread::sleep_for(1ms);
  runtime->reset();

  base::Histogram undisturbed;
  base::Histogram all;
  for (const Preempted& stint :
       shared.trace.core(arrangement.measured).preempted) {
    const Duration took = stint.stopped - stint.begun;
    all.Record(static_cast<uint64_t>(took.count()));
    if (stint.ran == took)
      undisturbed.Record(static_cast<uint64_t>(took.count()));
  }
  const auto figures = [](const base::Histogram& stints) -> nlohmann::json {
    const auto us = [&](double quantile) {
      return stints.Quantile(quantile) / 1000;
    };
    return {{"stints", stints.count()},
            {"p50", us(0.5)},
            {"p90", us(0.9)},
            {"p99", us(0.99)}};
  };
  return {{"name", arrangement.name},
          {"keeper", arrangement.keeper},
          {"undisturbed_us", figures(undisturbed)},
          {"all_us", figures(all)}};
}

int Main(int argc, char** argv) {
  int64_t slice_us = 5;
  int64_t seconds = 2;
  const option options[] = {{"slice-us", required_argument, nullptr, 'l'},
                            {"seconds", required_argument, nullptr, 's'},
                            {}};
  for (int found;
       (found = getopt_long(argc, argv, "", options, nullptr)) != -1;) {
    int64_t* const value = found == 'l'   ? &slice_us
                           : found == 's' ? &seconds
                                          : nullptr;
    char* rest = nullptr;
    if (value != nullptr) *value = std::strtoll(optarg, &rest, 10);
    if (value == nullptr || *rest != '\0' || *value < 1 ||
        *value > (found == 'l' ? 1000 : 4)) {
      std::fprintf(stderr,
                   "usage: %s [--slice-us 1 to 1000] [--seconds 1 to 4]\n",
                   argv[0]);
      return 2;
    }
  }
  const std::vector<int> allowed = base::AllowedCpus();
  if (allowed.size() < 2) {
    std::fprintf(stderr,
                 "this process may use one CPU; the measurement needs two\n");
    return 1;
  }
  nlohmann::json rows = nlohmann::json::array();
  for (const Arrangement& arrangement : kArrangements)
    rows.push_back(Measure(arrangement, allowed,
                           std::chrono::microseconds(slice_us),
                           std::chrono::seconds(seconds)));
  std::printf("%s\n", nlohmann::json{{"slice_us", slice_us},
                                     {"seconds", seconds},
                                     {"arrangements", rows}}
                          .dump(2)
                          .c_str());
  return 0;
}

}  // namespace
}  // namespace yamanote::bench

int main(int argc, char** argv) { return yamanote::bench::Main(argc, argv); }
